"""Lists and events of the API server in, the state of its objects and what it means for pods out."""
