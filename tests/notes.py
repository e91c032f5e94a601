"""Collects messages for the operator."""

from foundation.text import Level, OnNote


def into(notes: list[str]) -> OnNote:
    """Return a callback that appends each message, with its level in front if that isn't info."""

    def note(text: str, level: Level = "info", /) -> None:
        notes.append(text if level == "info" else f"{level}: {text}")

    return note
