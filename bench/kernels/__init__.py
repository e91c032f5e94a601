"""Boots Debian's kernels one after another, checks Lanner under each, and writes docs/kernels.md."""
