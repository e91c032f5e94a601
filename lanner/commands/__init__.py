"""The commands, one module each: takes parsed arguments, returns an exit code."""
