"""Settings for every test: hypothesis checks results, never how long they took on a busy machine."""

from hypothesis import settings

settings.register_profile("lanner", deadline=None)
settings.load_profile("lanner")
