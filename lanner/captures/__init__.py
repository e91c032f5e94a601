"""Captures: .scap files of Falco, sysdig and Stratoshark, read as the events of one host."""
