"""The command line: takes arguments, returns an exit code."""
