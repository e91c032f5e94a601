"""The catalog: a name of a field, an event type or a flag in, its definition out."""
