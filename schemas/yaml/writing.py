"""Writes texts as YAML scalars."""

import json
import re

_BARE = re.compile(r"[A-Za-z0-9_./][A-Za-z0-9_./|+@ -]*[A-Za-z0-9_./|+@-]|[A-Za-z0-9_./]")
_WORDS = frozenset({"null", "~", "yes", "no", "true", "false", "none"})


def yaml_scalar(text: str) -> str:
    """Write a text plain if YAML reads it back unchanged, else in quotes; undecodable bytes become U+FFFD."""
    if _BARE.fullmatch(text) and text.lower() not in _WORDS:
        return text
    valid = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    # JSON escapes characters beyond U+FFFF as two, which YAML doesn't read as one.
    return "".join(map(_escaped, json.dumps(valid, ensure_ascii=False)))


def _escaped(character: str) -> str:
    if character.isprintable():
        return character
    return f"\\U{ord(character):08x}"
