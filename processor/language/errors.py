"""What is raised where a condition can't be read."""

from processor.language.ast import Span
from schemas.errors import LannerError


class ConditionError(LannerError, ValueError):
    """A text that is no condition; it carries what is wrong and where, so that a caller can show the place.

    Two errors are equal where message and place are, so tests and collections can compare them.
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
