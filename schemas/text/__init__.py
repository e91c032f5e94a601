"""Text that others chose: hostile text in, bounded and printable text out."""
