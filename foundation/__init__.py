"""Mechanisms that all packages need and none owns: errors, texts, times, sizes, caches, files, SQLite, HTTP server."""
