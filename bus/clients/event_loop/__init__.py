"""Clients for asyncio, apart from the others: importing asyncio takes 2 MiB of a collector."""
