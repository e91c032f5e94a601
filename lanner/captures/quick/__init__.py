"""The fast path of reading: events that no rule can match change the state, and are not decoded further."""
