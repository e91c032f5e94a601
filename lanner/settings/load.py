"""Where settings come from, in order: file, environment, flags."""

import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from lanner.errors import BadInput
from lanner.settings.build import build_settings
from lanner.settings.sections.model import Settings
from lanner.settings.tree import Keys, SettingLocation, Tree, at_path, overlay, parse_yaml

ENVIRONMENT_PREFIX = "LANNER__"
SYSTEM_FILE = Path("/etc/lanner/lanner.yaml")
LOCAL_FILE = Path("lanner.yaml")
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def find_file(named: str | None, environment: Mapping[str, str]) -> Path | None:
    """Give the settings file to read, or None: a file that was named must be there, those that weren't need not be.

    In order: --config (named), $LANNER_CONFIG, ./lanner.yaml, /etc/lanner/lanner.yaml.

    Raises:
        BadInput: whether one is there can't be seen (to run without what it says would be worse), or the one in this
            folder may be another user's work: settings name files to write, and where alerts go.
    """
    for given in (named, environment.get("LANNER_CONFIG")):
        if given:
            return Path(given)
    for path in (LOCAL_FILE, SYSTEM_FILE):
        try:
            if path.is_file():
                if path is LOCAL_FILE and (why := _why_foreign(path)):
                    raise BadInput(
                        f"{path.absolute()}: {why}. Name it by --config if it is meant, or leave this folder."
                    )
                return path
        except OSError as error:
            raise BadInput(
                f"{path.absolute()}: whether it is there can't be seen: {error.strerror}. Run this as a user who may "
                f"search {path.absolute().parent}, or name a settings file by --config."
            ) from None
    return None


def _why_foreign(path: Path) -> str:
    """Say why a file that nobody named may be another user's work; empty where it is root's or the caller's alone."""
    ours = (0, os.geteuid())
    link, file, folder = path.lstat(), path.stat(), path.absolute().parent.stat()
    if any(each.st_uid not in ours for each in (link, file)):
        return "it belongs to another user, and is taken from there only where root or the caller owns it"
    if file.st_mode & _OTHERS_WRITE:
        return "others than its owner can write it"
    if folder.st_uid not in ours or (folder.st_mode & _OTHERS_WRITE and not folder.st_mode & stat.S_ISVTX):
        return "others can put another file in its place"
    return ""


def read_file(path: Path) -> Tree:
    """Read a settings file. Raises BadInput."""
    return parse_yaml(read_text(path), str(path))


def read_text(path: Path) -> str:
    """Read a file of text. Raises BadInput."""
    try:
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        raise BadInput(f"{path}: can't be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: not UTF-8 at byte {error.start}.") from None


def load_settings(
    path: Path | None, environment: Mapping[str, str] = os.environ, flags: Iterable[str] = ()
) -> Settings:
    """Read settings from all their sources.

    flags are `key=value` as given to -o. Raises BadInput with all that is wrong.
    """
    tree: Tree = read_file(path) if path else Keys(SettingLocation("settings"), {})
    for name in sorted(environment):
        if name.startswith(ENVIRONMENT_PREFIX):
            key = name.removeprefix(ENVIRONMENT_PREFIX).lower().replace("__", ".")
            tree = overlay(tree, at_path(key, environment[name], SettingLocation(f"environment variable {name}")))
    for flag in flags:
        key, equals, value = flag.partition("=")
        place = SettingLocation(f"-o {flag}")
        if not equals:
            raise BadInput(f"{place}: must be key=value.")
        tree = overlay(tree, at_path(key.strip(), value, place))
    settings, problems = build_settings(tree)
    if problems:
        raise BadInput(*problems)
    return settings
