"""What holds for every test: hypothesis judges what comes out, never how long it took on a busy machine."""

from hypothesis import settings

settings.register_profile("lanner", deadline=None)
settings.load_profile("lanner")
