"""Sinks on this host: an alert in, a line on standard output, in a file or in the local syslog out."""
