"""Programs that the acts start; each does one thing, in a process of its own."""
