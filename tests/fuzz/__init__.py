"""Fuzz tests: rule files, conditions, test files and captures are untrusted, so any input must be handled."""
