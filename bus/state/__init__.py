"""Changelog topics: records of a table in, the table of a partition out."""
