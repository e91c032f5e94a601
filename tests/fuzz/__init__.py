"""Fuzz tests: rule files, conditions and test files are untrusted, so any text must be handled."""
