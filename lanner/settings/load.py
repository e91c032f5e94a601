"""Reads settings from a file, the environment and flags."""

import os
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from foundation.yaml.nodes import (
    Limits,
    MappingNode,
    Node,
    OverLimits,
    ScalarNode,
    SequenceNode,
    SourceFile,
    SourceLocation,
    YamlError,
)
from foundation.yaml.reading import read_documents
from lanner.errors import BadInput
from lanner.settings.build import build_settings
from lanner.settings.faults import BadSettings, SettingFault
from lanner.settings.sections.model import Settings

_LIMITS = Limits(characters=1 << 20, nodes=100_000, depth=20)


def parse_yaml(text: str, source: str, *, has_lines: bool = True) -> Node:
    """Parse settings of a source, whose name is for messages; a flag's value has no lines that mean anything.

    Raises:
        BadInput: On bad syntax, a duplicate key, or a document too big or too deep to be settings.
    """
    file = SourceFile(source, text, has_lines=has_lines)
    if len(file.text) > _LIMITS.characters:
        raise BadInput(f"{source}: more than {_LIMITS.characters} characters can't be settings.")
    try:
        documents = read_documents(file, _LIMITS, is_precise=True)
    except OverLimits as error:
        raise _bad("nested too deep or too big to be settings.", error.location) from None
    except YamlError as error:
        raise _bad(f"not YAML: {error.problem}.", error.location) from None
    if len(documents) > 1:
        raise _bad("settings are one document.", documents[1].location)
    if not documents:
        return MappingNode(file, 0, 0, ())
    _check_keys(documents[0])
    return documents[0]


def _bad(text: str, location: SourceLocation) -> BadSettings:
    return BadSettings(SettingFault("", text, location=location))


def _check_keys(node: Node) -> None:
    if isinstance(node, SequenceNode):
        for item in node.items:
            _check_keys(item)
    elif isinstance(node, MappingNode):
        known: dict[str, ScalarNode] = {}
        for key, value in node.pairs:
            if not isinstance(key, ScalarNode):
                raise _bad("a key must be a scalar.", key.location)
            first = known.setdefault(key.value, key)
            if first is not key:
                raise _bad(f"{key.value!r} is given twice, first at {first.location}.", key.location)
            _check_keys(value)


def with_setting(tree: Node, path: str, value: str, source: str) -> Node:
    """Return a tree in which one setting is set. source: where it is from, for error messages.

    The path is dotted, and `a[].b` appends an item to a list. The value is a text, or a list or mapping as YAML; a
    mapping is merged key by key.

    Raises:
        BadInput: The path or value is invalid.

    Source: Falco's `-o key=value`.
    """
    if not re.fullmatch(r"\w+(\[\])?(\.\w+(\[\])?)*", path):
        raise BadInput(f"{source}: {path!r} is not the name of a setting, such as file_output.enabled or rules[].")
    # Other values are taken literally: `%` and `@` can't start YAML.
    given = parse_yaml(value, source, has_lines=False) if value[:1] in "[{" else literal(value, source)
    return with_value(tree, path.split("."), given)


def literal(text: str, source: str) -> ScalarNode:
    """Return a text as if it were quoted in YAML. source: where it is from, for error messages."""
    return ScalarNode(SourceFile(source, text, has_lines=False), 0, len(text), text, '"')


def with_value(tree: Node, path: list[str], given: Node) -> Node:
    """Return a tree with a value at a path, whose parts may end in []; a mapping is merged key by key."""
    return _overlay(tree, _at_path(tree, path, given))


def _at_path(below: Node | None, path: list[str], given: Node) -> Node:
    """Return the mappings and lists above a value at a path; a list has the items that it has below."""
    if not path:
        return given
    name = path[0].removesuffix("[]")
    old = below.get(name) if isinstance(below, MappingNode) else None
    location = (given.file, given.start, given.end)
    if path[0].endswith("[]"):
        items = old.items if isinstance(old, SequenceNode) else ()
        value: Node = SequenceNode(*location, (*items, _at_path(None, path[1:], given)))
    else:
        value = _at_path(old, path[1:], given)
    return MappingNode(*location, ((ScalarNode(*location, name), value),))


def _overlay(below: Node, above: Node) -> Node:
    """Merge two trees: mappings key by key; anything else is replaced."""
    if not isinstance(below, MappingNode) or not isinstance(above, MappingNode):
        return above
    pairs = {key.value: (key, value) for key, value in below.entries()}
    for key, value in above.entries():
        old = pairs.get(key.value)
        pairs[key.value] = (key, value if old is None else _overlay(old[1], value))
    return MappingNode(below.file, below.start, below.end, tuple(pairs.values()))


ENVIRONMENT_PREFIX = "LANNER__"
SYSTEM_FILE = Path("/etc/lanner/lanner.yaml")
LOCAL_FILE = Path("lanner.yaml")
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def find_file(named: str | None, environment: Mapping[str, str]) -> Path | None:
    """Return the settings file to read, or None. A file that the user named must exist; the default ones need not.

    In order: --config (named), $LANNER_CONFIG, ./lanner.yaml, /etc/lanner/lanner.yaml.

    Raises:
        BadInput: A default file can't be checked for existence, because running without its settings would be worse;
            or the one in the current folder may be another user's: settings decide what is written and where alerts go.
    """
    for given in (named, environment.get("LANNER_CONFIG")):
        if given:
            return Path(given)
    for path in (LOCAL_FILE, SYSTEM_FILE):
        try:
            if path.is_file():
                if path is LOCAL_FILE and (why := _why_foreign(path)):
                    raise BadInput(
                        f"{path.absolute()}: {why}. Pass it by --config to use it, or run from another folder."
                    )
                return path
        except OSError as error:
            raise BadInput(
                f"{path.absolute()}: can't check whether it exists: {error.strerror}. Run this as a user who may "
                f"search {path.absolute().parent}, or pass a settings file by --config."
            ) from None
    return None


def _why_foreign(path: Path) -> str:
    """Return why a default file may be another user's, or an empty text if only root or the caller can change it."""
    ours = (0, os.geteuid())
    link, file, folder = path.lstat(), path.stat(), path.absolute().parent.stat()
    if any(each.st_uid not in ours for each in (link, file)):
        return "it belongs to another user; here it must be owned by root or the caller"
    if file.st_mode & _OTHERS_WRITE:
        return "users other than its owner can write to it"
    if folder.st_uid not in ours or (folder.st_mode & _OTHERS_WRITE and not folder.st_mode & stat.S_ISVTX):
        return "other users can replace it"
    return ""


def read_file(path: Path) -> Node:
    """Read a settings file. Raises BadInput."""
    return parse_yaml(read_text(path), str(path))


def read_text(path: Path) -> str:
    """Read a UTF-8 text file. Raises BadInput."""
    try:
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        raise BadInput(f"{path}: can't be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: not UTF-8 at byte {error.start}.") from None


@dataclass(frozen=True, slots=True)
class LoadedSettings:
    """Settings as they were read, with their errors and places."""

    settings: Settings
    """A setting with an error has its default."""
    faults: tuple[SettingFault, ...]
    tree: Node
    """A value as it was written, and its place."""

    def valid(self) -> Settings:
        """Return the settings. Raises BadSettings with all errors."""
        if self.faults:
            raise BadSettings(*self.faults)
        return self.settings


def read_settings(
    path: Path | None, environment: Mapping[str, str] = os.environ, flags: Iterable[str] = (), rules: Iterable[str] = ()
) -> LoadedSettings:
    """Read settings from all sources.

    Args:
        path: the settings file, if any.
        environment: variables LANNER__SECTION__KEY override the file.
        flags: `key=value`, as given to -o; they override both.
        rules: paths as given to -r; they replace rules_files.

    Raises:
        BadInput: The file can't be read, or is not YAML.
    """
    tree = read_file(path) if path else MappingNode(SourceFile("settings", ""), 0, 0, ())
    for name in sorted(environment):
        if name.startswith(ENVIRONMENT_PREFIX):
            key = name.removeprefix(ENVIRONMENT_PREFIX).lower().replace("__", ".")
            tree = with_setting(tree, key, environment[name], f"environment variable {name}")
    for flag in flags:
        key, equals, value = flag.partition("=")
        if not equals:
            raise BadInput(f"-o {flag}: must be key=value.")
        tree = with_setting(tree, key.strip(), value, f"-o {flag}")
    if paths := tuple(literal(each, f"-r {each}") for each in rules):
        first = paths[0]
        tree = with_value(tree, ["rules_files"], SequenceNode(first.file, first.start, first.end, paths))
    settings, faults = build_settings(tree)
    return LoadedSettings(settings, tuple(faults), tree)


def load_settings(
    path: Path | None, environment: Mapping[str, str] = os.environ, flags: Iterable[str] = ()
) -> Settings:
    """Read settings from all sources, as read_settings does. Raises BadInput with all errors."""
    return read_settings(path, environment, flags).valid()
