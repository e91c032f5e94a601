"""The rules of a process: takes settings, returns compiled rules and where they come from."""
