"""What this process shares with its host: signals, notices to systemd, changed files and memory."""
