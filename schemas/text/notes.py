"""The callback that receives messages for the operator."""

from typing import Literal, Protocol

Level = Literal["info", "warning", "error"]


class OnNote(Protocol):
    """Receives a message for the operator."""

    def __call__(self, text: str, level: Level = "info", /) -> None:
        """Show or log the message."""


def ignore_note(text: str, level: Level = "info", /) -> None:
    """Show the message to nobody."""
