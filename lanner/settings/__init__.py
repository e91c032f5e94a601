"""Settings: takes a file, environment variables and flags, in rising precedence; returns typed settings."""

from lanner.settings.load import LoadedSettings, find_file, load_settings
from lanner.settings.sections.model import Settings

__all__ = ["LoadedSettings", "Settings", "find_file", "load_settings"]
