"""The state of stateful rules: read, learned from retained events, and reset by operators."""
