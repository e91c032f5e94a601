"""Bounded caches: keys that a host chose in, cached values out, with a limit on memory."""
