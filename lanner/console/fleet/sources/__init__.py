"""Where hosts and rules are read: a fleet's topics, this process, or files."""
