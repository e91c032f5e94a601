"""How a setting is declared: with its default and the comment that says what it is for."""

from dataclasses import field
from typing import Any


def about(text: str, default: Any) -> Any:
    """Declare a setting with its comment; sections and lists are made anew for every object."""
    if callable(default):
        return field(default_factory=default, metadata={"about": text})
    return field(default=default, metadata={"about": text})
