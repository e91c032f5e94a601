"""A lanner.yaml in the making: what could be carried, and a line for each setting that could not."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from lanner.settings.build import build_settings
from lanner.settings.tree import Items, Keys, SettingLocation, Text, Tree, parse_yaml

SECRETS = "/etc/lanner"
"""Where the files of secrets are supposed to be."""


@dataclass(frozen=True, slots=True)
class ImportedSetting:
    """One setting of the other tool that says something."""

    name: str
    """Dotted, in lower case."""
    place: SettingLocation
    value: Tree

    @property
    def text(self) -> str:
        """The value, of a plain one."""
        return (self.value.text or "") if isinstance(self.value, Text) else ""


def found_in(tree: Tree) -> Iterator[ImportedSetting]:
    """Give every setting that is not empty; a mapping is gone into, a list is one setting."""
    yield from _found(tree, "", None)


def _found(tree: Tree, name: str, place: SettingLocation | None) -> Iterator[ImportedSetting]:
    if isinstance(tree, Keys):
        for key, (where, below) in tree.entries.items():
            yield from _found(below, f"{name}.{key.lower()}".lstrip("."), where)
    elif isinstance(tree, Items) or tree.text:
        yield ImportedSetting(name, place or tree.place, tree)


@dataclass(slots=True)
class Draft:
    """What will be printed."""

    settings: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    sinks: list[str] = field(default_factory=list)
    """Sinks that are to run, in the order in which they were found."""

    def put(self, name: str, value: Any) -> None:
        """Set one of our settings, by its dotted name."""
        *sections, last = name.split(".")
        below = self.settings
        for section in sections:
            below = below.setdefault(section, {})
        below[last] = value

    def turn_on(self, sink: str) -> None:
        """Have a sink run."""
        if not sink.startswith("siem."):
            self.put(f"{sink}_output.enabled", value=True)
        if sink not in self.sinks:
            self.sinks.append(sink)

    def note(self, found: ImportedSetting, text: str) -> None:
        """Say what became of a setting that can't be carried as it is; never its value, which may be a secret."""
        self.notes.append(f"{found.place}: {found.name}: {text}")

    def secret(self, found: ImportedSetting, name: str, file: str) -> None:
        """Name a file in the place of a secret."""
        path = f"{SECRETS}/{file}"
        self.put(name, path)
        self.note(found, f"a secret, not copied: write it into {path} (mode 0600), which {name} names.")

    def text(self) -> str:
        """Give the file; what our own check refuses is taken out first, and said."""
        while True:
            body = yaml.safe_dump(self.settings, sort_keys=False, allow_unicode=True, width=120)
            problems = build_settings(parse_yaml(body, "lanner.yaml"))[1]
            if not problems:
                return body if self.settings else ""
            if not self._drop(problems[0]):
                raise AssertionError(problems[0])

    def _drop(self, problem: str) -> bool:
        """Take out the setting that a problem names."""
        words = problem.split(": ", 1)[-1].removeprefix("there is no setting ")
        name = words.split(" ", 1)[0].strip("'.")
        *sections, last = name.split(".")
        below: Any = self.settings
        for section in sections:
            below = below.get(section, {}) if isinstance(below, dict) else {}
        if not isinstance(below, dict) or last not in below:
            # Something inside a list: the list as a whole goes.
            below, last = self.settings, re.split(r"[.\[]", name)[0]
        if last not in below:
            return False
        del below[last]
        self.notes.append(f"{name}: not carried: {problem.split(': ', 1)[-1]}")
        return True
