"""Hostile text made harmless for Slack, and cut to what a place takes.

Slack reads `<!channel>`, `<@U1>` and `<https://x|y>` as commands, and makes links of bare addresses. Whoever is
attacking the host chooses file names and arguments: none of them may page a channel or plant a link.
"""

from schemas.text.printable import printable

_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_JOINER = "\u2060"
_CODE = {**_ENTITIES, "`": "\u02cb"}
"""A backtick would end the code; this looks like one."""
_PROSE = {
    **_CODE,
    "@": f"@{_JOINER}",
    "#": f"#{_JOINER}",
    "/": f"/{_JOINER}",
    "*": f"*{_JOINER}",
    "_": f"_{_JOINER}",
    "~": f"~{_JOINER}",
    ":": f":{_JOINER}",
    ".": f".{_JOINER}",
}
"""An invisible joiner keeps Slack from seeing a mention, a link, an emoji or formatting."""
ELLIPSIS = "\u2026"


def length(text: str) -> int:
    """Give a text's length as strictly as any counter would: in UTF-16 units, entities written out."""
    return len(text) + sum(letter > "\uffff" for letter in text)


def in_code(text: str, limit: int) -> str:
    """Give a text for inside backticks, at most limit long."""
    return _fit(text, limit, _CODE)


def in_prose(text: str, limit: int) -> str:
    """Give a text for outside code, at most limit long."""
    return _fit(text, limit, _PROSE)


def _fit(text: str, limit: int, replaced: dict[str, str]) -> str:
    # What can't be shown anyway need not be made printable: a hostile text may be megabytes long.
    shown = printable(text[: limit + 1])
    pieces: list[str] = []
    left = limit
    for place, letter in enumerate(shown):
        piece = replaced.get(letter, letter)
        size = length(piece)
        is_last = place == len(shown) - 1
        if size > left or (not is_last and size > left - 1):
            return "".join(pieces) + ELLIPSIS
        pieces.append(piece)
        left -= size
    return "".join(pieces)
