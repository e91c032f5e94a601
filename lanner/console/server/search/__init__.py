"""The view Search: conditions in, events that match as a stream out."""
