"""What stateful rules remember: read, learned from retained events, and reset by operators."""
