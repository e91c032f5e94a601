"""The language server for rule files: problems, documentation, completions and definitions."""
