"""Compiled programs that are kept on disk, by what they were compiled for.

A start with one takes milliseconds, and a host without compiler and headers can be given one that a like host made.
What stands in such a file goes into the kernel as root, so that only files count that nobody else could have written.
"""

import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from schemas.errors import LannerError

_TOLD = 3
"""How many files that don't fit are named in an error."""


class ProgramMismatch(LannerError):
    """A kept program is not for this host, or not to be trusted; the text says why."""


@dataclass(frozen=True, slots=True)
class BuildTarget:
    """What a compiled program depends on; it serves where all of this is the same."""

    kernel: str
    """Release and build."""
    program: str
    """Digest of source, compiler and sizes."""
    offsets: str
    """Digest of what the kernel says of its types, by which the structures' members are found."""
    bcc: str | None
    """BCC's version; None on a host that has none, and so takes what any version compiled."""

    @property
    def file_name(self) -> str:
        """Under which name it is kept; BCC's version is no part, so that a newer one takes the old one's place."""
        return f"bpf-{self.program[:12]}-{self.offsets[:8]}-{''.join(_plain(self.kernel))[:80]}.json"


def _plain(text: str) -> Iterator[str]:
    return (char if char.isalnum() or char in "._+" else "-" for char in text)


def find(places: Sequence[Path], wanted: BuildTarget) -> tuple[tuple[Path, dict[str, Any]] | None, list[str]]:
    """Look for a program that was compiled for this.

    Args:
        places: files, or folders of them; the first that fits is taken.
        wanted: what it has to be made for.

    Returns:
        File and compilation, if there is one, and of those that don't fit the first few with the reason.
    """
    unfit: list[str] = []
    for place in places:
        try:
            inside = place.glob("*.json") if place.is_dir() else [place]
            files = sorted(inside, key=lambda path: path.name != wanted.file_name)
        except PermissionError as error:
            unfit.append(f"{place}: can't be read: {error.strerror}")
            continue
        for path in files:
            try:
                return (path, read(path, wanted)), unfit
            except FileNotFoundError:
                continue
            except ProgramMismatch as reason:
                unfit.append(f"{path}: {reason}")
    return None, unfit[:_TOLD]


def read(path: Path, wanted: BuildTarget) -> dict[str, Any]:
    """Read one, if it is for this and only root or ourselves could have written it. Raises DoesNotFit, OSError."""
    try:
        with path.open(encoding="ascii") as file:
            # Asked of the open file: behind a name there may be another one a moment later.
            facts = os.fstat(file.fileno())
            if facts.st_uid not in {0, os.geteuid()} or facts.st_mode & 0o022:
                raise ProgramMismatch("others than root can write it: chown root, chmod go-w")
            found: dict[str, Any] = json.load(file)
        made_for = BuildTarget(**found["made_for"])
        programs = bool(found["maps"]) and bool(found["programs"])
    except (ValueError, KeyError, TypeError):
        raise ProgramMismatch("it is no compiled program, or cut off") from None
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ProgramMismatch(f"can't be read: {error.strerror}") from None
    if not programs:
        raise ProgramMismatch("it is empty")
    if made_for.kernel != wanted.kernel:
        raise ProgramMismatch(f"made for kernel {made_for.kernel}; this is {wanted.kernel}")
    if made_for.program != wanted.program:
        raise ProgramMismatch("made by another version of Lanner")
    if made_for.offsets != wanted.offsets:
        raise ProgramMismatch("made for a kernel that lays out its structures otherwise")
    if wanted.bcc not in {None, made_for.bcc}:
        raise ProgramMismatch(f"made by BCC {made_for.bcc}; here is {wanted.bcc}")
    return found


def write(path: Path, compilation: dict[str, Any], made_for: BuildTarget) -> None:
    """Keep one, whole or not at all. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, name = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(descriptor, "w") as file:
            json.dump({"made_for": {**asdict(made_for), "bcc": compilation["bcc"]}, **compilation}, file)
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise
