"""Masks secrets in alerts. Rules evaluate the original event; people and SIEMs receive the masked alert.

Pure. A text costs one search for all patterns together, a short one that came before none; only one that has something
to mask costs more.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache
from typing import Any

from foundation.errors import LannerError
from schemas.alert import ARGUMENTS, Alert, Value, Window

MASK = "[redacted]"
DEFAULT = "default"
"""In place of a pattern: the built-in patterns."""
_QUOTED = r""""[^"]*"\S*|'[^']*'\S*"""
_NAME = r"(?:passw(?:or)?d|passphrase|secret(?:[_-]?(?:access[_-]?)?key)?|token|api[_-]?key)"
# Arguments are separated by a space in command lines, a full stop in evt.args, and NUL in raw form.
DEFAULT_PATTERNS = (
    rf"(?i)--[\w-]*{_NAME}[\s.\x00]+({_QUOTED}|[^\s-]\S*)",
    rf"(?i){_NAME}=({_QUOTED}|\S+)",
    rf'(?i){_NAME}"\s*:\s*"((?:[^"\\]|\\.)+)',
    rf"(?i)authorization:\s*(?:(?:bearer|basic|token|digest)\s+)?({_QUOTED}|\S+)",
    r"(?i)\bbearer\s+(\S+)",
    r"(?i)[a-z][a-z0-9+.-]*://[^\s/:@]*:([^\s/]+)@",
)
"""Options and assignments by the name, members of JSON objects, HTTP's credentials, passwords in URLs."""
_NAMES = ("passw", "passphrase", "secret", "token", "api")
_SIGNS = ("=", "--", '"')
_WORDS = ("authorization", "bearer", "://")
"""ASCII text in lower case that a built-in pattern matches contains one of the first and one of the second, or one of
the last."""

_SHORT = 200
_REMEMBERED = 4096

Redact = Callable[[Alert], Alert]


class BadPattern(LannerError, ValueError):
    """An unusable pattern; the message is the reason, for people."""


def unredacted(alert: Alert) -> Alert:
    """Return an alert unchanged."""
    return alert


class Redaction:
    """Compiled patterns."""

    def __init__(self, patterns: Iterable[str] = (DEFAULT,)) -> None:
        """Compile patterns: RE2, each with the one group that is masked; DEFAULT stands for the built-in ones.

        Raises BadPattern if one of them can't be read or has not one group.
        """
        given = tuple(patterns)
        self._texts = [each for text in given for each in (DEFAULT_PATTERNS if text == DEFAULT else (text,))]
        self._is_built_in = all(text == DEFAULT for text in given)
        if not self._is_built_in:
            # Raises for what is none.
            _ = self._patterns
        self._short = lru_cache(_REMEMBERED)(self._masked)

    @cached_property
    def _patterns(self) -> tuple[Any, list[Any]]:
        """One pattern for all, if they can be combined, and each.

        Made when a text first needs them, because what compiles them takes 2.4 MiB.
        """
        each = [_compiled(text) for text in self._texts]
        return _joined(self._texts), each

    def text(self, text: str) -> str:
        """Mask what the patterns match; in a changed text, bytes that are not UTF-8 become question marks."""
        return self._short(text) if len(text) <= _SHORT else self._masked(text)

    def _masked(self, text: str) -> str:
        if self._is_built_in and not _may_have_secrets(text):
            return text
        data = text.encode("utf-8", "replace")
        together, patterns = self._patterns
        if together is not None and together.search(data) is None:
            return text
        masked = data
        for pattern in patterns:
            masked = _without_secrets(pattern, masked)
        return text if masked is data else masked.decode("utf-8", "replace")

    def values(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """Mask each text of a mapping."""
        made = {name: self._value(value) for name, value in values.items()}
        if isinstance(arguments := made.get(ARGUMENTS), tuple):
            made[ARGUMENTS] = self._arguments(arguments)
        return made

    def alert(self, alert: Alert) -> Alert:
        """Mask everything that comes from events; the alert id does not change."""
        if not self._texts:
            return alert
        return replace(
            alert,
            output=self.text(alert.output),
            output_fields=self.values(alert.output_fields),
            event=self.values(alert.event),
            window=None if alert.window is None else self._window(alert.window),
        )

    def _arguments(self, arguments: tuple[str, ...]) -> tuple[str, ...]:
        """Mask what patterns match in the command line, such as an option and its value."""
        line = " ".join(arguments)
        masked = self.text(line)
        if masked == line:
            return arguments
        # To patterns a form feed is white space, too; few arguments have one.
        apart = tuple(self.text("\f".join(arguments)).split("\f"))
        return apart if len(apart) == len(arguments) and " ".join(apart) == masked else tuple(masked.split(" "))

    def _window(self, window: Window) -> Window:
        return replace(
            window,
            group=self.values(window.group),
            values=tuple(map(self.text, window.values)),
            legs={name: self.values(leg) for name, leg in window.legs.items()},
        )

    def _value(self, value: Value) -> Value:
        if isinstance(value, str):
            return self.text(value)
        return tuple(map(self.text, value)) if isinstance(value, tuple) else value


def _may_have_secrets(text: str) -> bool:
    """Return false only for a text that no built-in pattern matches."""
    if not text.isascii():
        return True
    low = text.lower()
    has_name = any(name in low for name in _NAMES) and any(sign in low for sign in _SIGNS)
    return has_name or any(word in low for word in _WORDS)


def _without_secrets(pattern: Any, data: bytes) -> bytes:
    parts, end = [], 0
    for match in pattern.finditer(data):
        start, stop = match.span(1)
        # A group that did not match is at -1.
        if end <= start < stop:
            parts += [data[end:start], MASK.encode()]
            end = stop
    return b"".join((*parts, data[end:])) if parts else data


def _compiled(text: str) -> Any:
    pattern = _pattern(text)
    if pattern.groups != 1:
        raise BadPattern(
            f"'{text}' must have one group, round what is masked, and has {pattern.groups}; "
            "(?:…) is for parentheses that only group."
        )
    return pattern


def _pattern(text: str) -> Any:
    import re2  # noqa: PLC0415 - as stated above

    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(text.encode("utf-8", "replace"), options)
    except re2.error as problem:
        reason = problem.args[0] if problem.args else ""
        words = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise BadPattern(f"'{text[:200]}' is not a valid RE2 regular expression: {words}.") from None


def _joined(texts: Sequence[str]) -> Any:
    """Return one pattern that matches what any of them matches; None if they cannot be combined."""
    if not texts or any(sign in text for text in texts for sign in ("(?P<", "(?<", r"\Q")):
        return None
    try:
        return _pattern("|".join(f"(?:{text})" for text in texts))
    except BadPattern:
        return None
