"""Events: a decoded kernel record in, one event of a batch out."""
