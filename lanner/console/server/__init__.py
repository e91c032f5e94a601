"""The HTTP side of the console: requests in, pages, JSON and live events out."""
