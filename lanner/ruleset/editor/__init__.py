"""What an editor shows about rule files: problems, documentation, completions and definitions."""
