"""Conversion of other tools' settings: takes their files, returns a lanner.yaml and notes on what has no equivalent."""
