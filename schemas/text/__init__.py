"""Text: untrusted strings and timestamps in, bounded and printable text out."""
