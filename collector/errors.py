"""Why a collector can't start here, said so that a person can act on it."""

from schemas.errors import LannerError


class EnvironmentUnsupported(LannerError):
    """This host, user or container lacks something that collecting needs."""

    def __init__(self, reason: str, remedy: str) -> None:
        """Take a sentence on what is missing and one on what to do about it."""
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy


class TooBusy(EnvironmentUnsupported):
    """Nothing is missing, but so much happens on this host that it could not be told: a later start may do."""
