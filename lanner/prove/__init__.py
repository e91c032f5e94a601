"""Attack steps that others wrote, run for real, and what Lanner reported of each."""
