"""Records of compacted topics: bytes in, values out, and back."""
