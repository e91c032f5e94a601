"""The front door: command line, settings, and the pipeline that runs all stages in one process."""

__version__ = "0.1.0"
