"""Sinks over the network other than webhooks and Slack: alerts in, acknowledged deliveries out."""
