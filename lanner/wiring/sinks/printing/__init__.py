"""Sinks that write lines, and how an alert becomes lines: for people, as Falco prints it, or as JSON."""
