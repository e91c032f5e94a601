"""Declaration of a setting: its default, its comment, and whether it may be a secret."""

from dataclasses import field
from typing import Any, Literal

Hides = Literal["", "address", "value"]
"""What is hidden when a setting is shown: nothing, the part of a URL after the host, or the whole value."""


def about(text: str, default: Any, *, hides: Hides = "") -> Any:
    """Declare a setting with its comment; callable defaults are called for each object."""
    metadata = {"about": text, "hides": hides}
    if callable(default):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)
