"""The process and its host: signals, notices to systemd, changed files and memory."""
