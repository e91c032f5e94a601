"""Processes: lifecycle records and /proc in, one row for the process of each event out."""
