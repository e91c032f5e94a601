"""What ends a command early, and the exit code that each ending has."""

from typing import Literal

from schemas.errors import LannerError

BAD_INPUT: Literal[1] = 1
BAD_USAGE: Literal[2] = 2
ENVIRONMENT_LACKS: Literal[3] = 3
TOO_BUSY: Literal[4] = 4
"""A service manager starts again what ends with it; what ends with 2 or 3 would fail again."""


class BadInput(LannerError):
    """What the user gave is wrong: each message says where, what and what to do.

    All are collected, because people fix files and not single errors.
    """

    def __init__(self, *messages: str) -> None:
        self.messages = messages
        super().__init__("\n".join(messages))
