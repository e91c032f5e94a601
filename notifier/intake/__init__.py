"""Alerts of other tools: HTTP requests in, alerts on the topic or in outboxes out."""
