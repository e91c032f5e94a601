"""The rules of a process: settings in, compiled rules and their origin out."""
