"""State of groups: an entry in, its bytes in the changelog out, and back."""
