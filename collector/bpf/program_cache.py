"""Compiled programs cached on disk, by what they were compiled for.

A start from the cache takes milliseconds, and a host without compiler and headers can use a program compiled on another
one. The content is loaded into the kernel as root, so only files count that nobody else could have written.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from foundation.errors import LannerError
from foundation.files import UntrustedFile, read_trusted, write_atomically

_MAX_REPORTED = 3
"""Maximum number of files that don't fit named in an error."""


class ProgramMismatch(LannerError):
    """A cached program is not for this host, or not trustworthy; the message gives the reason."""


@dataclass(frozen=True, slots=True)
class BuildTarget:
    """The facts that a compiled program depends on; it fits if all of them are equal."""

    program: str
    """Digest of source, compiler and sizes."""

    @property
    def file_name(self) -> str:
        """Name of its file."""
        return f"bpf-{self.program[:12]}.json"


def find(paths: Sequence[Path], build_target: BuildTarget) -> tuple[tuple[Path, dict[str, Any]] | None, list[str]]:
    """Find a program that was compiled for a target.

    Args:
        paths: files, or folders of them; the first that fits is used.
        build_target: the required target.

    Returns:
        File and compilation, if there is one, and the first few that don't fit with the reasons.
    """
    unfit: list[str] = []
    for searched in paths:
        try:
            inside = searched.glob("*.json") if searched.is_dir() else [searched]
            files = sorted(inside, key=lambda path: path.name != build_target.file_name)
        except PermissionError as error:
            unfit.append(f"{searched}: can't be read: {error.strerror}")
            continue
        for path in files:
            try:
                return (path, read(path, build_target)), unfit
            except FileNotFoundError:
                continue
            except ProgramMismatch as reason:
                unfit.append(f"{path}: {reason}")
    return None, unfit[:_MAX_REPORTED]


def read(path: Path, build_target: BuildTarget) -> dict[str, Any]:
    """Read a program if it fits and can be trusted. Raises ProgramMismatch, OSError."""
    found = read_object(path)
    try:
        made_for = BuildTarget(**found["made_for"])
        programs = bool(found["maps"]) and all(found["variants"].values())
    except (AttributeError, KeyError, TypeError):
        raise ProgramMismatch("not a compiled program of this version of Lanner") from None
    if not programs:
        raise ProgramMismatch("empty file")
    if made_for.program != build_target.program:
        raise ProgramMismatch("compiled by another version of Lanner")
    return found


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object that only root, this user or the owner of this code can have written.

    Raises:
        ProgramMismatch: it can't be read, or others can have written it.
        FileNotFoundError: there is no file.
    """
    try:
        found = json.loads(read_trusted(path))
    except UntrustedFile as error:
        raise ProgramMismatch(str(error)) from None
    except ValueError:
        raise ProgramMismatch("not a compiled program, or truncated") from None
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ProgramMismatch(f"can't be read: {error.strerror}") from None
    if not isinstance(found, dict):
        raise ProgramMismatch("not a compiled program, or truncated")
    return found


def write(path: Path, compilation: dict[str, Any], made_for: BuildTarget) -> None:
    """Store a program atomically. Raises OSError."""
    stored = {"made_for": asdict(made_for), **compilation}
    write_atomically(path, [json.dumps(stored).encode()], is_shared=True)
