"""Lints: likely mistakes in rules that load, added to the problems that Falco's loader also reports."""
