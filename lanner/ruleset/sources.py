"""Finds the rule files to load."""

from dataclasses import dataclass
from pathlib import Path

from lanner.errors import BadInput
from lanner.settings import Settings
from lanner.settings.faults import BadSettings, SettingFault
from lanner.sources.installed import define_sources
from processor.loading import RuleFile, read_rule_files

SHIPPED_FOLDERS = (Path(__file__).parents[2] / "rules", Path("/usr/share/lanner/rules"))
"""Beside the program in a checkout, or where a package installs them."""
OWN_FOLDER = Path("/etc/lanner/rules.d")


@dataclass(frozen=True, slots=True)
class RuleSources:
    """The files to load and the paths to watch."""

    files: tuple[RuleFile, ...]
    watched: tuple[Path, ...]
    """Files and folders: a change to any may change the rules."""
    origin: str
    """Short description of where the rules come from."""


def find_rules(settings: Settings) -> RuleSources:
    """Read the configured files, or else the built-in ones and then those in /etc/lanner/rules.d.

    The sources of JSON that settings add are known afterwards. Raises BadInput if a configured path doesn't exist; the
    loader reports errors in files.
    """
    define_sources(settings)
    try:
        if settings.rules_files:
            paths = [Path(name) for name in settings.rules_files]
            missing = [
                SettingFault(f"rules_files[{index}]", f"{settings.rules_files[index]}: no such rule file or folder.")
                for index, named in enumerate(paths)
                if not settings.rules_files[index] or not named.exists()
            ]
            if missing:
                raise BadSettings(*missing)
            origin = ", ".join(_short(named) for named in paths)
        else:
            shipped = next((named for named in SHIPPED_FOLDERS if named.is_dir()), None)
            if shipped is None:
                raise BadInput("the built-in rules are missing; pass rules by --rules.")
            paths = [_near(shipped), *([OWN_FOLDER] if OWN_FOLDER.is_dir() else [])]
            origin = " and ".join(_short(named) for named in paths)
        files = tuple(read_rule_files(paths))
    except OSError as error:
        raise BadInput(f"{error.filename}: can't be read: {error.strerror}.") from None
    if not files:
        raise BadSettings(SettingFault("rules_files", f"{origin}: no rule files (*.yaml)."))
    watched = (*paths, *(Path(file.name) for file in files))
    return RuleSources(files, tuple(path.absolute() for path in watched), origin)


def _near(path: Path) -> Path:
    """Return a path relative to the current folder if it is below, for shorter messages."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _short(path: Path) -> str:
    shown = str(_near(path))
    return f"{shown}/" if path.is_dir() and shown != "." else shown
