"""Sources of JSON: a mapping file in, where the fields of a source's events are out."""
