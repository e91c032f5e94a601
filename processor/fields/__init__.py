"""Fields: a field's name in, the expression that extracts it from a batch out."""
