"""Reasons why a collector can't start, each with a remedy."""


class LannerError(Exception):
    """Base class of every exception that Lanner defines, so that one clause catches them all."""


class EnvironmentUnsupported(LannerError):
    """This host, user or container lacks something that collecting needs."""

    def __init__(self, reason: str, remedy: str) -> None:
        """Take one sentence on what is missing and one on how to fix it."""
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy


class TooBusy(EnvironmentUnsupported):
    """Nothing is missing, but the host is too busy for the self-test; a later start may succeed."""
