"""The commands that run until they are stopped: arguments in, an exit code out."""
