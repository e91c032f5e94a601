"""Exit codes, and the errors of users' input and requests."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from foundation.errors import LannerError

BAD_INPUT: Literal[1] = 1
BAD_USAGE: Literal[2] = 2
ENVIRONMENT_LACKS: Literal[3] = 3
TOO_BUSY: Literal[4] = 4
"""A service manager restarts after this code; after 2 or 3 a restart would fail again."""


class BadInput(LannerError):
    """The user's input is wrong: each message names the location, the error and the remedy.

    Collects all errors, so that the user can fix them in one pass.
    """

    def __init__(self, *messages: str) -> None:
        self.messages = messages
        super().__init__("\n".join(messages))


@contextmanager
def or_bad_input(place: object) -> Iterator[None]:
    """Raise an OSError from inside as BadInput, with the place that it is about: a file, a setting or an address."""
    try:
        yield
    except OSError as error:
        raise BadInput(f"{place}: {error.strerror or error}.") from None


class BadRequest(LannerError):
    """A request to the console is not valid; the message states what it must be."""


class TooManyAtOnce(LannerError):
    """A limit on what runs or waits at the same time is reached; the message states which."""
