"""Which container a process belongs to, and what its runtime says about it."""
