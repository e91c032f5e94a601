"""Schemas of writers: a message's schema id in, the schema to read it by out."""
