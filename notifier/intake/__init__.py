"""The intake for alerts of other tools: HTTP requests in, alerts on the topic or in outboxes out."""
