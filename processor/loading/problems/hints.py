"""Suggestions for misspelled names."""

from collections.abc import Iterable
from difflib import get_close_matches

_MANY = 1000


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a hint with the closest known name; empty if none is close.

    Args:
        name: the unknown name.
        known: the known names.
    """
    names = list(known)
    if len(names) > _MANY or len(name) > 200:
        return ""
    nearest = get_close_matches(name, names, n=1, cutoff=0.7)
    return f"did you mean '{nearest[0]}'?" if nearest else ""
