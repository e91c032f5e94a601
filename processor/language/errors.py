"""The error that the parser raises."""

from schemas.errors import LannerError
from schemas.yaml.excerpt import Span


class ConditionError(LannerError, ValueError):
    """Raised for a text that is not a condition; it holds the message and the span of the fault.

    Errors are equal if message and span are equal, so that tests and collections can compare them.
    """

    def __init__(self, message: str, span: Span) -> None:
        super().__init__(message)
        self.message = message
        self.span = span

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ConditionError):
            return NotImplemented
        return (self.message, self.span) == (other.message, other.span)

    def __hash__(self) -> int:
        return hash((self.message, self.span))
