"""The process tree around an alert: takes events and alerts, returns lines of text. Pure."""
