"""The Slack sink: alerts in, Slack messages, threads and edits out."""
