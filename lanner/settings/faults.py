"""Errors in settings: what is wrong with which setting, shown at the place where it was written."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from foundation.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode, SourceLocation
from foundation.yaml.text import Piece, TracedText, excerpt
from lanner.errors import BadInput

_SECRET = re.compile(
    r"(?i)(?<!\w)[\w-]*(?:token|password|secret|key|value|url)['\"]?\s*[:=]\s*('[^']*'?|\"[^\"]*\"?|[^\s,}\]{\[#][^\s,}\]]*)"
    r"|://([^/\s@]*)@"
)
"""A value in YAML or in a flag that may be secret, or the password of a URL; names of files of secrets end in _file."""
_INDEX = re.compile(r"\[(\d+)\]")


@dataclass(frozen=True, slots=True)
class SettingFault:
    """One error."""

    setting: str
    """Dotted path, such as routes[0].sink; empty if it concerns none."""
    text: str
    """A sentence that names the setting."""
    hint: str = ""
    """The remedy, or the closest known name."""
    span: tuple[int, int] | None = None
    """The wrong part of the setting's text, if only a part is."""
    location: SourceLocation | None = None
    """Where the setting was written."""
    follows: bool = False
    """True if it may follow from an error in another setting of the same part, such as a misspelled name."""

    def __str__(self) -> str:
        lines = [self.text]
        if self.location is not None:
            location = _without_secrets(self.location)
            lines = [f"{location}: {self.text}", *excerpt(location)]
        return "\n".join([*lines, f"  = {self.hint}"] if self.hint else lines)


class BadSettings(BadInput):
    """Settings are wrong."""

    def __init__(self, *faults: SettingFault) -> None:
        self.faults = faults
        super().__init__(*map(str, faults))


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint with the closest known name; empty if none is close."""
    # Imported here, because hints are for errors alone.
    from difflib import get_close_matches  # noqa: PLC0415

    close = get_close_matches(name.lower(), list(known), n=1)
    return f"did you mean {close[0]}?" if close else ""


def located(fault: SettingFault, tree: Node) -> SettingFault:
    """Return a fault with the place in a tree where its setting, or else the section around it, was written."""
    if fault.location is not None:
        return fault
    key, node = _find(tree, fault.setting)
    if fault.span is not None and isinstance(node, ScalarNode):
        return replace(fault, location=part_of(node, fault.span))
    place = node if isinstance(node, ScalarNode) and node.end > node.start else key
    return fault if place is None else replace(fault, location=place.location)


@contextmanager
def locating(tree: Node) -> Iterator[None]:
    """Raise each BadSettings again with the places of its faults."""
    try:
        yield
    except BadSettings as error:
        raise BadSettings(*(located(fault, tree) for fault in error.faults)) from None


def part_of(node: ScalarNode, span: tuple[int, int]) -> SourceLocation:
    """Return the place of a part of a scalar's text."""
    return TracedText.of([Piece(node.value, node)]).locate(span)


def unit_of(setting: str) -> str:
    """Return the part of the settings that a setting belongs to: a section, a named sink, an item of a list."""
    head, _, rest = setting.partition(".")
    return f"sinks.{rest.partition('.')[0]}" if head == "sinks" else head


def _find(tree: Node, setting: str) -> tuple[Node | None, Node | None]:
    """Return the key and the value of a setting; the innermost key around it, without a value, if it is absent."""
    key: Node | None = None
    node, rest = tree, setting
    while rest:
        index = _INDEX.match(rest)
        if index and isinstance(node, SequenceNode) and int(index[1]) < len(node.items):
            key = node = node.items[int(index[1])]
            rest = rest[index.end() :].removeprefix(".")
            continue
        names = [each for each in node.names() if _begins(rest, each.value)] if isinstance(node, MappingNode) else []
        if not names or not isinstance(node, MappingNode):
            return key, None
        name = max(names, key=lambda each: len(each.value))
        key, node = name, node.get(name.value) or name
        rest = rest[len(name.value) :].removeprefix(".")
    return key, node


def _begins(path: str, name: str) -> bool:
    return bool(name) and path.startswith(name) and path[len(name) : len(name) + 1] in ("", ".", "[")


def _without_secrets(location: SourceLocation) -> SourceLocation:
    """Mask what may be secret in a line, or in a flag: messages end up in logs."""
    return replace(location, file=_SECRET.sub(_masked, location.file), text=_SECRET.sub(_masked, location.text))


def _masked(found: re.Match[str]) -> str:
    """Mask a secret without moving what follows it."""
    secret = found[1] or found[2] or ""
    return found[0].replace(secret, "*" * len(secret)) if secret else found[0]
