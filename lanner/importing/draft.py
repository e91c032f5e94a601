"""A lanner.yaml under construction, with a note for each setting that has no equivalent."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import yaml

from foundation.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode, SourceLocation
from lanner.settings.build import build_settings
from lanner.settings.faults import SettingFault
from lanner.settings.load import parse_yaml

SECRETS = "/etc/lanner"
"""The folder for files of secrets."""


@dataclass(frozen=True, slots=True)
class ImportedSetting:
    """One setting of the other tool that has a value."""

    name: str
    """Dotted path, in lower case."""
    location: SourceLocation
    value: Node
    key: str = ""
    """The last part of its name, as it was written."""

    @property
    def text(self) -> str:
        """The value of a scalar setting, else an empty text."""
        return (self.value.text or "") if isinstance(self.value, ScalarNode) else ""


def found_in(tree: Node, name: str = "") -> Iterator[ImportedSetting]:
    """Yield every setting with a value, below `name`; mappings are descended into, a list is one setting."""
    yield from _found(tree, name, None)


def _found(tree: Node, name: str, key: ScalarNode | None) -> Iterator[ImportedSetting]:
    if isinstance(tree, MappingNode):
        for below_key, below in tree.entries():
            yield from _found(below, f"{name}.{below_key.value.lower()}".lstrip("."), below_key)
    elif tree.items if isinstance(tree, SequenceNode) else tree.text:
        yield ImportedSetting(name, (key or tree).location, tree, key.value if key else "")


def reason_in(reasons: Mapping[str, str], name: str) -> str:
    """Return why a setting, or the nearest section around it, is not carried over; empty if there is no reason."""
    while name and name not in reasons:
        name = name.rpartition(".")[0]
    return reasons.get(name, "")


@dataclass(slots=True)
class Draft:
    """The resulting settings and notes."""

    settings: dict[str, Any] = field(default_factory=dict)
    sinks: list[str] = field(default_factory=list)
    """Sinks to run, in the order in which they were found."""
    carried: set[str] = field(default_factory=set)
    """Names of the other tool's settings that the result takes into account."""
    _notes: dict[tuple[str, str], list[ImportedSetting]] = field(default_factory=dict)
    """The settings that share a note, by their section and the note's text."""
    _dropped: list[str] = field(default_factory=list)
    _changes: int = 0

    @property
    def notes(self) -> list[str]:
        """One line for each setting, or for each group of settings of a section that share a reason."""
        shared = [
            f"{some[0].location}: {', '.join(dict.fromkeys(each.name for each in some))}: {text}"
            for (_, text), some in self._notes.items()
        ]
        return [*shared, *self._dropped]

    @contextmanager
    def accounting(self, found: ImportedSetting) -> Iterator[None]:
        """Convert a setting inside: it is carried over, or has a note."""
        before, self._changes = self._changes, 0
        yield
        if self.is_open:
            self.note(found, "has no equivalent.")
        elif not any(each is found for some in self._notes.values() for each in some):
            self.carried.add(found.name)
        self._changes += before

    @property
    def is_open(self) -> bool:
        """True if nothing was done yet about the setting that is converted."""
        return self._changes == 0

    def cover(self) -> None:
        """Mark the setting that is converted as one that the result takes into account as it is."""
        self._changes += 1

    def put(self, name: str, value: Any) -> None:
        """Set one of Lanner's settings by its dotted path."""
        *sections, last = name.split(".")
        below = self.settings
        for section in sections:
            below = below.setdefault(section, {})
        below[last] = value
        self._changes += 1

    def append(self, name: str, item: Any) -> None:
        """Append an item to one of Lanner's lists by its dotted path, unless it is there."""
        below: Any = self.settings
        for part in name.split("."):
            below = below.get(part) if isinstance(below, dict) else None
        items = below if isinstance(below, list) else []
        self.put(name, items if item in items else [*items, item])

    def turn_on(self, sink: str) -> None:
        """Enable a sink."""
        if not sink.startswith("siem."):
            self.put(f"{sink}_output.enabled", value=True)
        if sink not in self.sinks:
            self.sinks.append(sink)

    def note(self, found: ImportedSetting, text: str, *, shared: bool = False) -> None:
        """Add a note on a setting without an equivalent; never its value, which may be secret.

        With shared, settings of all sections share the note, instead of those of one.
        """
        section = "" if shared else found.name.partition(".")[0]
        self._notes.setdefault((section, text), []).append(found)
        self._changes += 1

    def secret(self, found: ImportedSetting, name: str, file: str) -> None:
        """Set the path of a file in place of a secret."""
        path = f"{SECRETS}/{file}"
        self.put(name, path)
        self.note(found, f"a secret, not copied: write it to {path} (mode 0600), to which {name} is set.")

    def text(self) -> str:
        """Return the file; settings that Lanner's validation rejects are removed first, with a note."""
        while True:
            body = yaml.safe_dump(self.settings, sort_keys=False, allow_unicode=True, width=120)
            problems = build_settings(parse_yaml(body, "lanner.yaml"))[1]
            if not problems:
                return body if self.settings else ""
            if not self._drop(problems[0]):
                raise AssertionError(problems[0])

    def _drop(self, fault: SettingFault) -> bool:
        """Remove the setting that is wrong."""
        *sections, last = fault.setting.split(".")
        below: Any = self.settings
        for section in sections:
            below = below.get(section, {}) if isinstance(below, dict) else {}
        if not isinstance(below, dict) or last not in below:
            # The setting is inside a list: remove the whole list.
            below, last = self.settings, re.split(r"[.\[]", fault.setting)[0]
        if last not in below:
            return False
        del below[last]
        self._dropped.append(f"{fault.setting}: not converted: {fault.text}")
        return True
