"""The name that was probably meant."""

from collections.abc import Iterable
from difflib import get_close_matches

_MANY = 1000


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Give a hint that names the nearest known name; empty where none is near.

    Args:
        name: what was written.
        known: the names there are.
    """
    names = list(known)
    if len(names) > _MANY or len(name) > 200:
        return ""
    nearest = get_close_matches(name, names, n=1, cutoff=0.7)
    return f"did you mean '{nearest[0]}'?" if nearest else ""
