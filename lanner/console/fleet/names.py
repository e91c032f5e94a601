"""Names with `*`, as filters of lists. Pure."""


def has_name(name: str, pattern: str) -> bool:
    """Return whether a name has a text in it, or matches a pattern in which `*` is any text; case doesn't matter.

    It takes linear time, unlike a regular expression: whoever can open a page can choose the pattern.
    """
    text = name.casefold()
    first, *others = pattern.casefold().split("*")
    if not others:
        return first in text
    *middle, last = others
    if not text.startswith(first):
        return False
    at = len(first)
    for part in middle:
        found = text.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return text.endswith(last) and len(text) - len(last) >= at
