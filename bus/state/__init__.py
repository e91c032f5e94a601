"""Changelog topics: records of a table in, the table of each partition out."""
