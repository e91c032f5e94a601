"""Declaration of a setting: its default, its comment, its form, and whether it may be a secret."""

from dataclasses import field
from typing import Any, Literal

from lanner.settings.forms.values import Form

Hides = Literal["", "address", "value"]
"""What is hidden when a setting is shown: nothing, the part of a URL after the host, or the whole value."""


def about(text: str, default: Any, *, hides: Hides = "", form: Form | None = None) -> Any:
    """Declare a setting with its comment; callable defaults are called for each object.

    Args:
        text: the comment.
        default: the value if none is given.
        hides: what is hidden when the setting is shown.
        form: what a value must be beyond its type.
    """
    metadata = {"about": text, "hides": hides, "form": form}
    if callable(default):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)
