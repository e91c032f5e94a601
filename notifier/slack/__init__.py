"""Alerts as Slack messages, by an incoming webhook or by the Web API."""
