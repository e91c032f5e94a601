"""Random system calls for programs/calls.c: every way to name a file, from any root, namespace, thread and entry.

No folder or name used by an action exists on a host.
"""

import shutil
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from collector.kernel import x86_64

NAMES = ("renamed", "a-name-longer-than-fifteen", "worker", "calls-64")
"""Names of threads and of the process; the kernel keeps 15 bytes."""

OPENS = ("open", "openat", "openat2", "creat")
PATHS = (
    *("unlink", "unlinkat", "rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat"),
    *("mkdir", "mkdirat", "rmdir", "chmod", "fchmodat"),
)
OTHERS = ("prctl", "setns", "unshare", "dup2", "ptrace", "chroot", "chdir", "mount")
TYPES = (*OPENS, *PATHS, *OTHERS)

_FILES = ("conf/secret", "conf/notes", "keys/secret", "keys/id", "conf/new", "keys/new")
_DEEP = "/".join(["d"] * 59)
_LONG = f"{'l' * 100}/{'m' * 40}"
_FAR = "/".join(["f" * 100] * 5)
_TOO_LONG = f"{'n' * 300}/secret"
_CWD = -100
_ROOT, _OUTER, _INNER, _FOLDER, _PATH_ONLY, _MOUNTED, _FILE, _NONE = 61, 60, 62, 63, 64, 65, 66, 99
_STARTS = (_CWD, _CWD, _FOLDER, _PATH_ONLY, _MOUNTED, _MOUNTED, _FILE, _NONE)
_USER = 12345
_MS_BIND, _MS_REC, _MS_PRIVATE, _NEWNS, _FS = 4096, 0x4000, 1 << 18, 0x20000, 0x200
_O_PATH, _O_DIRECTORY = 0o10000000, 0o200000
_FLAGS = (0, 0, 0, 1, 2, 0o101, 0o102, 0o1001, 0o1101, 0o301, _O_DIRECTORY, _O_PATH, 0o400000, 0o20200002)
_RESOLVE = (0, 0, 0x10, 0x10, 0x08, 0x04, 0x02, 0x01)
"""For openat2: within the root, beneath, no links, no magic links, in one file system."""

_NUMBERS: dict[int, dict[str, int]] = {
    bits: {event: number for number, event in table.items()}
    for bits, table in ((64, x86_64.NATIVE), (32, x86_64.COMPAT))
}
_NUMBERS[64] |= {"close": 3, "fchdir": 81, "setresuid": 117}

Argument = int | str | bytes


def make_folder(top: Path) -> None:
    """Create all files, as at the start of each run."""
    shutil.rmtree(top, ignore_errors=True)
    top.mkdir()
    for name in ("mounted", "empty", "jail/empty", "jail/jail", "above"):
        (top / name).mkdir(parents=True)
    for name in (*_FILES[:4], *(f"jail/{name}" for name in _FILES[:4]), f"{_DEEP}/secret", f"{_FAR}/secret", _LONG):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text("x")
    for folder in (top, top / "jail"):
        for name, target in (
            *(("link", "conf/secret"), ("dangling", "conf/none"), ("ways", "conf"), ("loop", "loop")),
            *(("conf/up", "../keys/secret"), ("inner", "/conf/secret"), ("outer", f"{top}/keys/secret")),
        ):
            (folder / name).symlink_to(target)


def paths_of(top: Path) -> tuple[str, ...]:
    """Return names of files, as seen from outside, from inside the jail, and where they are mounted."""
    inner = tuple(f"/{name}" for name in _FILES)
    links = ("link", "dangling", "ways/secret", "conf/up", "inner", "outer")
    return (
        *(f"{top}/{name}" for name in (*_FILES, *links, f"{_DEEP}/secret", _LONG, "none", "empty")),
        *(*inner, *(f"{top}/jail/{name}" for name in (*_FILES, "ways/secret"))),
        *(f"{top}/mounted/secret", f"{top}/mounted/notes", f"{top}/above/conf/secret"),
    )


@dataclass(slots=True)
class Script:
    """Lines for programs/calls.c."""

    chance: Random
    top: str
    lines: list[str]

    def call(self, event: str, *arguments: Argument, thread: str = "-", bits: int = 64) -> None:
        """Add one call."""
        words = [_word(argument) for argument in arguments]
        self.lines.append(" ".join([thread, str(bits), str(_NUMBERS[bits][event]), *words]))

    def hold(self, descriptor: int, path: str, flags: int = 0) -> None:
        """Open something to be held at a descriptor."""
        self.call("open", path, flags)
        self.call("dup2", 3, descriptor)
        self.call("close", 3)


def _word(argument: Argument) -> str:
    if isinstance(argument, bytes):
        return f"#{argument.hex()}"
    return f"={argument}" if isinstance(argument, str) else str(argument)


def random_script(chance: Random, top: Path, count: int) -> str:
    """Return a script with so many actions, a few calls each.

    Args:
        chance: source of randomness.
        top: the folder created by make_folder.
        count: number of actions.
    """
    script = Script(chance, str(top), [])
    script.hold(_ROOT, "/", _O_DIRECTORY)
    script.hold(_OUTER, "/proc/self/ns/mnt")
    script.hold(_FOLDER, f"{top}/conf")
    script.hold(_PATH_ONLY, f"{top}", _O_PATH)
    script.hold(_FILE, f"{top}/keys/id")
    script.call("unshare", _NEWNS)
    script.call("mount", "none", "/", "none", _MS_REC | _MS_PRIVATE)
    script.call("mount", f"{top}/conf", f"{top}/mounted", "none", _MS_BIND)
    script.call("mount", f"{top}/jail", f"{top}/above", "none", _MS_BIND | _MS_REC)
    script.hold(_INNER, "/proc/self/ns/mnt")
    script.hold(_MOUNTED, f"{top}/mounted")
    script.call("chdir", str(top))
    for _ in range(count):
        act = chance.choice([*[_open] * 10, *[_change] * 8, *[_other] * 4, *[_move] * 3, _from_a_root_of_its_own])
        act(script)
    return "\n".join(script.lines) + "\n"


def _by(script: Script) -> dict[str, str | int]:
    """Choose who makes a call, and by which entry."""
    chance = script.chance
    return {"thread": chance.choice(["-"] * 5 + list(NAMES)), "bits": chance.choice([64, 64, 64, 32])}


def _name(script: Script) -> str:
    """Return a name of a file, written in one of many ways."""
    chance, top = script.chance, script.top
    path = chance.choice(paths_of(Path(top)))
    head, tail = path.rsplit("/", 1)
    below = path.removeprefix(f"{top}/").lstrip("/")
    return chance.choice(
        [
            *[path] * 8,
            *[below] * 6,
            *(f"{head}//{tail}", f"{head}/./{tail}", f"{head}/none/../{tail}", f"{top}/keys/../conf/{tail}"),
            *(f"../conf/{tail}", f"./{below}", f"conf//{tail}", tail, f"{path}/", f"conf/../keys/{tail}"),
            *(f"/proc/self/root{path}", f"/proc/thread-self/root{path}", f"{top}/{_TOO_LONG}", _TOO_LONG),
            *(f"{top}/{_FAR}/secret", f"{_FAR}/secret", f"{_DEEP}/secret", f"{top}/loop/{tail}", f"ways/{tail}"),
            *(f"/proc/self/fd/{_FOLDER}/{tail}", f"{top}/" + "conf/../" * 20 + f"conf/{tail}", f"{path}.."),
        ]
    )


def _open(script: Script) -> None:
    chance = script.chance
    event, by, flags, start = chance.choice(OPENS), _by(script), chance.choice(_FLAGS), chance.choice(_STARTS)
    name = chance.choice([_name(script)] * 20 + ["/", ".", "..", ""])
    if event == "creat":
        script.call(event, name, 0o644, **by)  # type: ignore[arg-type]
    elif event == "open":
        script.call(event, name, flags, 0o644, **by)  # type: ignore[arg-type]
    elif event == "openat":
        script.call(event, start, name, flags, 0o644, **by)  # type: ignore[arg-type]
    else:
        how = struct.pack("<QQQ", flags, 0o644 * bool(flags & 0o100), chance.choice(_RESOLVE))
        script.call(event, start, name, how, len(how), **by)  # type: ignore[arg-type]
    # Whatever kind it was: the next is to get the same descriptor.
    script.call("close", 3)


_CHANGES: dict[str, Callable[[int, str, int, str, Random], Sequence[Argument]]] = {
    "unlink": lambda _, one, __, ___, ____: (one,),
    "unlinkat": lambda start, one, _, __, chance: (start, one, chance.choice([0, 0, 0x200])),
    "rename": lambda _, one, __, other, ___: (one, other),
    "renameat": lambda start, one, end, other, _: (start, one, end, other),
    "renameat2": lambda start, one, end, other, chance: (start, one, end, other, chance.choice([0, 1, 2])),
    "link": lambda _, one, __, other, ___: (one, other),
    "linkat": lambda start, one, end, other, chance: (start, one, end, other, chance.choice([0, 0x400])),
    "symlink": lambda _, one, __, other, ___: (one, other),
    "symlinkat": lambda _, one, end, other, __: (one, end, other),
    "mkdir": lambda _, one, __, ___, ____: (one, 0o755),
    "mkdirat": lambda start, one, _, __, ___: (start, one, 0o755),
    "rmdir": lambda _, one, __, ___, ____: (one,),
    "chmod": lambda _, one, __, ___, chance: (one, chance.choice([0o600, 0o4755])),
    "fchmodat": lambda start, one, _, __, chance: (start, one, chance.choice([0o600, 0o4755])),
}


def _change(script: Script) -> None:
    chance = script.chance
    event = chance.choice(PATHS)
    makes = _CHANGES[event]
    script.call(
        event,
        *makes(chance.choice(_STARTS), _name(script), chance.choice(_STARTS), _name(script), chance),
        **_by(script),  # type: ignore[arg-type]
    )


def _other(script: Script) -> None:
    chance, by = script.chance, _by(script)
    event, *arguments = chance.choice(
        [
            *[("prctl", 15, name) for name in NAMES],
            *(("prctl", 4, 1), ("prctl", 3), ("dup2", chance.choice([_FOLDER, _NONE]), 90), ("ptrace", 1, 0, 0, 0)),
            *(("ptrace", 16, 999999999, 0, 0), ("setns", _FILE, 0), ("setns", _NONE, _NEWNS)),
        ]
    )
    script.call(str(event), *arguments, **by)  # type: ignore[arg-type]


def _back(script: Script) -> None:
    """Return to the host's root from anywhere; the working directory is never the host's own root."""
    script.call("setresuid", -1, 0, -1)
    script.call("fchdir", _ROOT)
    script.call("chroot", ".")
    script.call("chdir", script.top)


def _move(script: Script) -> None:
    """Change who makes the following actions and where: user, directory, root, mount namespace."""
    chance, top = script.chance, script.top
    kind = chance.randrange(7)
    if kind == 0:
        script.call("setresuid", -1, chance.choice([0, _USER]), -1)
    elif kind == 1:
        script.call("chdir", f"{top}/{chance.choice(['conf', 'keys', 'ways', 'mounted', 'above', _DEEP])}")
    elif kind == 2:
        script.call("fchdir", chance.choice([_FOLDER, _PATH_ONLY, _MOUNTED]))
    elif kind == 3:
        script.call("setresuid", -1, 0, -1)
        script.call("chdir", f"{top}/jail")
        script.call("chroot", ".")
    elif kind == 4:
        script.call("setresuid", -1, 0, -1)
        # The working directory stays outside, so that names relative to it lead out.
        script.call("chroot", f"{top}/jail")
    else:
        _back(script)
        script.call("setns", chance.choice([_OUTER, _INNER]), chance.choice([0, _NEWNS]))
        _back(script)


def _from_a_root_of_its_own(script: Script) -> None:
    """Make a thread leave the directory and the root shared with the others, and open something from there."""
    thread = script.chance.choice(NAMES)
    script.call("unshare", _FS, thread=thread)
    script.call("chdir", f"{script.top}/jail", thread=thread)
    script.call("chroot", ".", thread=thread)
    script.call("open", _name(script), 0, thread=thread)
    script.call("close", 3, thread=thread)
