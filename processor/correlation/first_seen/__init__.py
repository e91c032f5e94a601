"""The values that groups have shown: an event with a value in, whether the value is new out."""
