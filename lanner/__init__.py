"""The front door: command line, settings and the one-process pipeline."""
