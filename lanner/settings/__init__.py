"""One settings file, overridden by environment variables, overridden by flags."""

from lanner.settings.load import find_file, load_settings
from lanner.settings.sections.model import Settings

__all__ = ["Settings", "find_file", "load_settings"]
