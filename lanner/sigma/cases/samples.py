"""A text that a regular expression matches."""

from lanner.sigma.regex import Anchor, Characters, Choice, Part, Repeat, parse

_LIKED = "ax0 /-_."
_MOST = 300


def sample(pattern: str) -> str:
    """Return a short text that matches a pattern; its first alternative, with the fewest repetitions."""
    return _text(parse(pattern))[:_MOST]


def _text(part: Part) -> str:
    if isinstance(part, Choice):
        return "".join(map(_text, part.branches[0]))
    if isinstance(part, Repeat):
        return _text(part.part) * part.least
    if isinstance(part, Characters):
        liked = (letter for letter in _LIKED if any(low <= ord(letter) <= high for low, high in part.ranges))
        return next(liked, chr(part.ranges[0][0]))
    assert isinstance(part, Anchor)  # noqa: S101
    return ""
