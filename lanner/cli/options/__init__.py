"""Options shared by several commands: takes text, returns typed values."""
