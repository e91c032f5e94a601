"""The sections of the settings file: each setting with its type, default and comment."""
