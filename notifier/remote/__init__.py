"""Sinks for syslog daemons, Apprise services and SIEM topics: alerts in, messages and delivery outcomes out."""
