"""Notifier: alerts in, messages to people, syslog daemons, webhooks and SIEM topics out."""
