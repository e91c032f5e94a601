"""YAML with positions: text in, nodes that know file, line and column out."""
