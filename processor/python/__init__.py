"""Functions of Python rule files: events in, alerts or output fields out, each file in a process without rights."""
