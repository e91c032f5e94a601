"""Clients that take the place of others that have lost their brokers permanently."""
