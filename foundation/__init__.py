"""What every package needs and none owns: errors, texts, times, sizes, caches, files, SQLite, an HTTP server."""
