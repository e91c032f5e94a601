"""Sinks on this host: an alert in, a line on stdout, in a file or in the local syslog out."""
