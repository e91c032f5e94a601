"""Clients for asyncio, apart from the others: importing asyncio takes 4 MiB, which a collector saves."""
