"""Captures written from recordings, for readers such as Stratoshark and Falco."""
