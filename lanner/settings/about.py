"""How a setting is declared: with its default, the comment that says what it is for, and whether it may be a secret."""

from dataclasses import field
from typing import Any, Literal

Hides = Literal["", "address", "value"]
"""What of a setting is hidden where settings are shown: nothing, what an address has behind its host, or all."""


def about(text: str, default: Any, *, hides: Hides = "") -> Any:
    """Declare a setting with its comment; sections and lists are made anew for every object."""
    metadata = {"about": text, "hides": hides}
    if callable(default):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)
