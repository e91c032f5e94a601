"""Finds the environment variables that rules name."""

import re
from collections.abc import Iterable

from schemas.filter import EVERY_VARIABLE

_WHOLE = re.compile(r"(?<![\w.])evt\.(?:raw)?arg(?:\.env\b|\[(?:env|15)\])")
"""The argument of execve that holds the environment, by its name or its number."""
_FIELD = re.compile(r"(?<![\w.])proc\.a?env\b(?:\[([^\]]*)\])?")


def variables_in(texts: Iterable[str]) -> frozenset[str]:
    """Find them in conditions, outputs and names of fields.

    Args:
        texts: as people write them; text in quotes counts, which only adds names.

    Returns:
        Names; EVERY_VARIABLE among them where a rule asks for the environment of a process, or of an ancestor, whole.
    """
    found: set[str] = set()
    for text in texts:
        if _WHOLE.search(text):
            found.add(EVERY_VARIABLE)
        for field in _FIELD.finditer(text):
            name = (field[1] or "").strip("\"' ")
            found.add(EVERY_VARIABLE if not name or name.isdecimal() else name)
    return frozenset(found)
