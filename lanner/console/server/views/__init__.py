"""The views of the console, one module a subject: a request in, its page, JSON and events out."""
