"""JSON from elsewhere: a webhook, a file or a topic in, single events out."""
