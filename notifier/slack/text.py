"""Escapes untrusted text for Slack, and cuts it to a length.

Slack reads `<!channel>`, `<@U1>` and `<https://x|y>` as commands, and turns bare URLs into links. An attacker on the
host chooses file names and arguments: none of them may notify a channel or plant a link.
"""

from schemas.text.printable import printable

_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_JOINER = "\u2060"
_CODE = {**_ENTITIES, "`": "\u02cb"}
"""A backtick would end the code; its replacement looks like one."""
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
"""An invisible joiner prevents mentions, links, emoji and formatting."""
ELLIPSIS = "\u2026"


def length(text: str) -> int:
    """Return the length of escaped text by the strictest measure: UTF-16 units, entities written out."""
    return len(text) + sum(character > "\uffff" for character in text)


def in_code(text: str, limit: int) -> str:
    """Return text for use inside backticks, at most limit long."""
    return _fit(text, limit, _CODE)


def in_prose(text: str, limit: int) -> str:
    """Return text for use outside code, at most limit long."""
    return _fit(text, limit, _PROSE)


def _fit(text: str, limit: int, replaced: dict[str, str]) -> str:
    # Cut first: hostile text may be megabytes long.
    shown = printable(text[: limit + 1])
    pieces: list[str] = []
    left = limit
    for index, character in enumerate(shown):
        piece = replaced.get(character, character)
        size = length(piece)
        is_last = index == len(shown) - 1
        if size > left or (not is_last and size > left - 1):
            return "".join(pieces) + ELLIPSIS
        pieces.append(piece)
        left -= size
    return "".join(pieces)
