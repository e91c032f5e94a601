"""Reads settings from a file, the environment and flags."""

import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lanner.errors import BadInput
from lanner.settings.build import build_settings
from lanner.settings.faults import BadSettings, SettingFault
from lanner.settings.sections.model import Settings
from lanner.settings.tree import literal, parse_yaml, with_setting, with_value
from schemas.yaml.nodes import Node, SequenceNode

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
    """What was written, and where."""

    def valid(self) -> Settings:
        """Return the settings. Raises BadSettings with all errors."""
        if self.faults:
            raise BadSettings(*self.faults)
        return self.settings


def read_settings(
    path: Path | None,
    environment: Mapping[str, str] = os.environ,
    flags: Iterable[str] = (),
    rules: Iterable[str] = (),
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
    tree = read_file(path) if path else parse_yaml("", "settings")
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
    """Read settings from all sources, as read_settings does.

    Raises:
        BadInput: With all errors.
    """
    return read_settings(path, environment, flags).valid()
