"""The sections of the settings file: every setting with its type and default."""
