"""A lanner.yaml under construction, with a note for each setting that has no equivalent."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from lanner.settings.build import build_settings
from lanner.settings.faults import SettingFault
from lanner.settings.tree import parse_yaml
from schemas.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from schemas.yaml.source import SourceLocation

SECRETS = "/etc/lanner"
"""The folder for files of secrets."""


@dataclass(frozen=True, slots=True)
class ImportedSetting:
    """One setting of the other tool that has a value."""

    name: str
    """Dotted path, in lower case."""
    location: SourceLocation
    value: Node

    @property
    def text(self) -> str:
        """The value of a scalar setting, else an empty text."""
        return (self.value.text or "") if isinstance(self.value, ScalarNode) else ""


def found_in(tree: Node) -> Iterator[ImportedSetting]:
    """Yield every setting with a value; mappings are descended into, a list is one setting."""
    yield from _found(tree, "", None)


def _found(tree: Node, name: str, key: ScalarNode | None) -> Iterator[ImportedSetting]:
    if isinstance(tree, MappingNode):
        for below_key, below in tree.entries():
            yield from _found(below, f"{name}.{below_key.value.lower()}".lstrip("."), below_key)
    elif isinstance(tree, SequenceNode) or tree.text:
        yield ImportedSetting(name, (key or tree).location, tree)


@dataclass(slots=True)
class Draft:
    """The resulting settings and notes."""

    settings: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    sinks: list[str] = field(default_factory=list)
    """Sinks to run, in the order in which they were found."""

    def put(self, name: str, value: Any) -> None:
        """Set one of Lanner's settings by its dotted path."""
        *sections, last = name.split(".")
        below = self.settings
        for section in sections:
            below = below.setdefault(section, {})
        below[last] = value

    def turn_on(self, sink: str) -> None:
        """Enable a sink."""
        if not sink.startswith("siem."):
            self.put(f"{sink}_output.enabled", value=True)
        if sink not in self.sinks:
            self.sinks.append(sink)

    def note(self, found: ImportedSetting, text: str) -> None:
        """Add a note on a setting without an equivalent; never its value, which may be secret."""
        self.notes.append(f"{found.location}: {found.name}: {text}")

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
        self.notes.append(f"{fault.setting}: not converted: {fault.text}")
        return True
