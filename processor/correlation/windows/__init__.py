"""Windows: a state and an event in, the next state and whether it fired out."""
