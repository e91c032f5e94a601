"""Where settings come from, in order: file, environment, flags."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from lanner.failures import BadInput
from lanner.settings.build import build_settings
from lanner.settings.model import Settings
from lanner.settings.tree import Keys, Place, Tree, at_path, overlay, parse_yaml

ENVIRONMENT_PREFIX = "LANNER__"
SYSTEM_FILE = Path("/etc/lanner/lanner.yaml")


def find_file(named: str | None, environment: Mapping[str, str]) -> Path | None:
    """Give the settings file to read, or None: a file that was named must be there, those that weren't need not be.

    In order: --config (named), $LANNER_CONFIG, ./lanner.yaml, /etc/lanner/lanner.yaml.

    Raises:
        BadInput: whether one is there can't be seen: to run without what it says would be worse.
    """
    for given in (named, environment.get("LANNER_CONFIG")):
        if given:
            return Path(given)
    for path in (Path("lanner.yaml"), SYSTEM_FILE):
        try:
            if path.is_file():
                return path
        except OSError as error:
            raise BadInput(
                f"{path.absolute()}: whether it is there can't be seen: {error.strerror}. Run this as a user who may "
                f"search {path.absolute().parent}, or name a settings file by --config."
            ) from None
    return None


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
    tree: Tree = read_file(path) if path else Keys(Place("settings"), {})
    for name in sorted(environment):
        if name.startswith(ENVIRONMENT_PREFIX):
            key = name.removeprefix(ENVIRONMENT_PREFIX).lower().replace("__", ".")
            tree = overlay(tree, at_path(key, environment[name], Place(f"environment variable {name}")))
    for flag in flags:
        key, equals, value = flag.partition("=")
        place = Place(f"-o {flag}")
        if not equals:
            raise BadInput(f"{place}: must be key=value.")
        tree = overlay(tree, at_path(key.strip(), value, place))
    settings, problems = build_settings(tree)
    if problems:
        raise BadInput(*problems)
    return settings
