"""The condition language: the text of a condition in, its syntax tree and event types out."""
