"""Programs that the actions run: each takes arguments, and does one thing in a process of its own."""
