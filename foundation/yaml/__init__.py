"""YAML files as trees that retain positions: a text in, nodes with their places in the file out."""
