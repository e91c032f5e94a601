"""Benchmarks, each run by its own command; no test asserts their timings."""
