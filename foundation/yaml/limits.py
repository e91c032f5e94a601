"""How much a YAML file may contain, and the errors of one that can't be read."""

from dataclasses import dataclass

from foundation.errors import LannerError
from foundation.yaml.nodes import SourceLocation


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a file may contain."""

    characters: int
    nodes: int
    """Each use of an alias counts all its nodes."""
    depth: int


RULES = Limits(characters=8_000_000, nodes=500_000, depth=64)
"""For rule files and their tests."""


class YamlError(LannerError, ValueError):
    """Raised for a text that is not valid YAML."""

    def __init__(self, message: str, location: SourceLocation, problem: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.location = location
        self.hint = hint
        """The remedy; empty if none is known."""
        self.problem = problem or message
        """The message without what the parser was at."""


class OverLimits(YamlError):
    """Raised for a text whose size, depth or alias expansion exceeds the limits."""
