"""The commands, flags and settings that the documentation names exist."""

import dataclasses
import re
import shlex
import typing
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml

from lanner.cli.app import lanner_command
from lanner.settings import Settings

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("deploy/**/README.md")])
CODE = re.compile(r"^(?: {4}|\t)(.*)$|`([^`\n]+)`|^((?:sudo )?lanner .*)$", re.MULTILINE)
PROGRAM = re.compile(r"(?:.*(?:&&|;) )?(?:sudo )?(?:[\w./]+/)?lanner ([a-z-].*)")
SETTING = re.compile(r"[a-z_]+(?:\.[a-z_]+)+")
SIGNED_TEXTS = {"batch", "host"}
"""What `lanner batch` and `lanner host` are: texts that signatures cover."""
CHART = ROOT / "deploy/helm/lanner"
FILES = {"actions.yaml", "archive.env", "console.env", "host.key", "notifier.env"}
ECS_FIELDS = {"actions.planned", "host.architecture", "host.ip", "host.os.kernel", "host.os.name"}
"""Look like settings, as FILES do."""


def commands(page: Path) -> Iterator[str]:
    """Yield what follows `lanner` in each command of a page, without comments, pipes and redirections."""
    for groups in CODE.findall(page.read_text()):
        if found := PROGRAM.fullmatch("".join(groups).partition(" #")[0]):
            command = re.split(r"\s(?:\||>|&&|\\)", found[1])[0]
            if command not in SIGNED_TEXTS:
                yield command


def unknown_part(command: str) -> str | None:
    """Return the first subcommand or flag that doesn't exist."""
    current: click.Command = lanner_command
    flags = {name: each for each in current.params for name in each.opts}
    words = iter(shlex.split(command))
    for word in words:
        if word.startswith("-"):
            name, equals, _ = word.partition("=")
            if name not in flags and name not in {"--help", "--version"}:
                return word
            if not equals and isinstance(option := flags.get(name), click.Option) and not option.is_flag:
                next(words, None)
        elif isinstance(current, click.Group):
            found = current.get_command(click.Context(current), word)
            if found is None:
                # A group such as `hosts` that does something by itself, or a pattern: `hosts ID`, `rules …`.
                return None if not word.islower() else word
            current = found
            flags |= {name: each for each in current.params for name in each.opts}
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_with_its_flags_exists(page: Path) -> None:
    """As the command line itself knows them."""
    wrong = [(command, part) for command in commands(page) if (part := unknown_part(command)) is not None]
    assert wrong == []


def is_setting(name: str) -> bool:
    """Return whether a dotted name leads to a setting."""
    kind: object = Settings
    for part in name.split("."):
        if not dataclasses.is_dataclass(kind) or not isinstance(kind, type):
            return False
        hints = typing.get_type_hints(kind)
        if part not in hints:
            return False
        kind = hints[part]
    return True


def is_chart_value(name: str) -> bool:
    """Return whether a dotted name leads to a value of the Helm chart."""
    value = yaml.safe_load((CHART / "values.yaml").read_text())
    for part in name.split("."):
        if not isinstance(value, dict) or part not in value:
            return False
        value = value[part]
    return True


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_setting_exists(page: Path) -> None:
    """If the first part of a dotted name is a section of the settings, the whole name leads to a setting or section."""
    sections = {name for name, kind in typing.get_type_hints(Settings).items() if dataclasses.is_dataclass(kind)}
    names = {found[1] for found in re.finditer(r"`([^`\n]+)`", page.read_text()) if SETTING.fullmatch(found[1])}
    exists = is_chart_value if page.parent == CHART else is_setting
    wrong = [name for name in names - FILES - ECS_FIELDS if name.split(".")[0] in sections and not exists(name)]
    assert wrong == []


def test_pages_hold_what_is_checked() -> None:
    """The patterns find commands and settings, a flag that doesn't exist among them."""
    assert sum(len(list(commands(page))) for page in PAGES) > 150
    assert unknown_part("rules validate my_rules.yaml --strict") is None
    assert unknown_part("-r my_rules.yaml rules validate --nonsense x") == "--nonsense"
    assert unknown_part("rules nonsense") == "nonsense"
    assert is_setting("webhook_output.splunk.index")
    assert not is_setting("kafka.nonsense")
