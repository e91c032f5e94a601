"""Fields: a field's name in, the expression that reads it from a batch out."""
