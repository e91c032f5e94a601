"""A demo action and the helpers it uses.

Actions run in other processes, because Lanner ignores its own process.
"""

import io
import shutil
import subprocess
import sys
import tarfile
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from collector.kernel.architecture import HERE
from foundation.errors import LannerError

_ONLY_NAMED = ("apt-get", "socat", "rsync", "wget", "kubectl", "debugfs", "tar", "base64")
DOCKER_PROGRAMS = {
    **{name: name for name in ("sh", "cat", "cp", "mkdir", "true", "perl")},
    **dict.fromkeys(_ONLY_NAMED, "true"),
}
"""Name in the image to this machine's program; those needed only for their names are copies of true."""

NUMBERS = {event: number for number, event in HERE.NATIVE.items()}
"""Numbers of the system calls that actions make without a library."""

PATIENCE = 30.0


class DemoDocker:
    """A Docker daemon and the image, created on first use; use it as a context manager."""

    def __init__(self, client: str, host: str | None = None) -> None:
        """Take the client program and the URL of the daemon (unix://...), None for the client's default."""
        self._command = [client, *(("-H", host) if host else ())]
        self._image: str | None = None

    @classmethod
    def find(cls, host: str | None = None) -> Self | None:
        """Return this machine's daemon if it answers, else None."""
        client = shutil.which("docker")
        if client is None:
            return None
        found = cls(client, host)
        return found if found._call("version", patience=5.0) is None else None

    def __enter__(self) -> Self:
        """Do nothing; the image is created with the first container."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the image."""
        if self._image is not None:
            self._call("image", "rm", "--force", self._image)
            self._image = None

    def run(self, *command: str, tty: bool) -> str | None:
        """Run a program in a new container without network, and remove the container. Return the error, if any."""
        if self._image is None:
            name = f"lanner-demo:{uuid.uuid4().hex[:8]}"
            problem = self._call("import", "-", name, sent=root_directory())
            if problem:
                return problem
            self._image = name
        container = f"lanner-demo-{uuid.uuid4().hex[:8]}"
        flags = ("--rm", "--name", container, "--network", "none", *(("--tty",) if tty else ()))
        problem = self._call("run", *flags, self._image, *command)
        if problem:
            self._call("rm", "--force", container)
        return problem

    def _call(self, *arguments: str, sent: bytes = b"", patience: float = PATIENCE) -> str | None:
        command = [*self._command, *arguments]
        try:
            done = subprocess.run(command, input=sent, capture_output=True, timeout=patience, check=False)
        except subprocess.TimeoutExpired:
            return "Docker did not answer in time"
        except OSError as error:
            return f"Docker can't be called: {error.strerror}"
        # 125 to 127 are Docker's own failures; any other code is the program's.
        if done.returncode and (arguments[0] != "run" or 125 <= done.returncode <= 127):
            return "Docker error: " + (done.stderr.decode(errors="replace").strip().splitlines() or ["nothing"])[-1]
        return None


def root_directory() -> bytes:
    """Return a tar file of a root directory with a few of this machine's programs and their libraries."""
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as tar:
        for name in ("tmp", "etc", "proc", "dev", "sys"):
            directory = tarfile.TarInfo(name)
            directory.type, directory.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(directory)
        for name, content in {"etc/passwd": b"root:x:0:0::/:/bin/sh\n", "etc/shadow": b"root:*:::::::\n"}.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o600
            tar.addfile(entry, io.BytesIO(content))
        libraries: set[str] = set()
        for name, program in DOCKER_PROGRAMS.items():
            path = shutil.which(program)
            if path is not None:
                _add(tar, Path(path), f"bin/{name}")
                libraries |= libraries_of(path)
        for library in sorted(libraries):
            _add(tar, Path(library), library.lstrip("/"))
    return output.getvalue()


def libraries_of(program: str) -> set[str]:
    """Return the absolute paths of a program's shared libraries and loader, from ldd(1)."""
    try:
        command = ["/usr/bin/env", "ldd", program]
        listing = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return set()
    return {word for line in listing.splitlines() for word in line.split() if word.startswith("/")}


def _add(tar: tarfile.TarFile, path: Path, name: str) -> None:
    content = path.read_bytes()
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), 0o755
    tar.addfile(entry, io.BytesIO(content))


Need = Literal["root", "docker"]

LONGEST = 30.0
"""Time limit for each step of an action, seconds; the slowest takes seven."""

PROGRAMS = Path(__file__).with_name("programs.py")


class DemoSkipped(LannerError):
    """The action can't run on this machine; the message is the reason."""


@dataclass(frozen=True, slots=True)
class DemoContext:
    """The tools of an action."""

    directory: Path
    """The action's own directory, initially empty; the caller removes it."""
    docker: DemoDocker | None = None

    def run(self, *command: str, user: int | None = None) -> int:
        """Run a program to completion without output, and return its exit code, which most actions ignore.

        user: the user id to run it as, with only that user's group. Raises DemoSkipped if the program is missing.
        """
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=LONGEST,
                check=False,
                cwd="/",
                user=user,
                group=user,
                extra_groups=None if user is None else (),
            )
        except FileNotFoundError:
            raise DemoSkipped(f"{command[0]} is not installed") from None
        except PermissionError:
            raise DemoSkipped(f"{command[0]} isn't allowed to run here") from None
        except subprocess.TimeoutExpired:
            raise DemoSkipped(f"{command[0]} did not end within {LONGEST:.0f} s") from None
        return done.returncode

    def python(self, program: str, *arguments: str) -> int:
        """Run one of the programs beside this module, for what ordinary commands can't do."""
        return self.run(sys.executable, "-I", str(PROGRAMS), program, *arguments)

    def in_container(self, *command: str, tty: bool = False) -> None:
        """Run a program in a new container. Raises DemoSkipped without Docker."""
        if self.docker is None:
            raise DemoSkipped("no Docker daemon")
        problem = self.docker.run(*command, tty=tty)
        if problem:
            raise DemoSkipped(problem)


def copy_program(name: str, directory: Path, copy: str) -> str:
    """Copy a program of this machine under another name and return the copy's path. Raises DemoSkipped."""
    original = shutil.which(name)
    if original is None:
        raise DemoSkipped(f"{name} is not installed")
    target = directory / copy
    shutil.copy(original, target)
    return str(target)


@dataclass(frozen=True, slots=True)
class DemoAction:
    """A harmless action and the alert that it should raise."""

    rule: str
    priority: str
    """The rule's priority, capitalized as in an alert line."""
    does: str
    """Description of the action."""
    run: Callable[[DemoContext], None]
    touches: str = "An empty directory below /tmp, removed afterwards."
    """The change on this machine, and how it is undone."""
    needs: frozenset[Need] = frozenset({"root"})


NOBODY = 65534
NOTHING = "Nothing: the output is discarded."
OWN_FILE_SYSTEM = "Nothing: the file system disappears with the action."
_IN_CONTAINER = "A container from a small image of this machine's programs; both are removed."

Step = Callable[[DemoContext], None]


def script(text: str) -> Step:
    """Return a step that runs a shell script, whose $1 is the action's own directory."""

    def run(context: DemoContext) -> None:
        context.run("sh", "-c", text, "demo", str(context.directory))

    return run


def over(place: str, text: str) -> Step:
    """Return a step that runs a shell script with an empty file system at a place, in a mount namespace of its own."""

    def run(context: DemoContext) -> None:
        context.run("unshare", "--mount", "sh", "-c", f"mount -t tmpfs none {place} && {text}")

    return run


def named(program: str, name: str, *arguments: str) -> Step:
    """Return a step that runs a copy of a program under another name."""

    def run(context: DemoContext) -> None:
        context.run(copy_program(program, context.directory, name), *arguments)

    return run


def command(*words: str, file: str = "", user: int | None = None) -> Step:
    """Return a step that runs a command, in whose words {} is the action's own directory.

    An empty file of the given name is created there first. user: the user id to run it as.
    """

    def run(context: DemoContext) -> None:
        if file:
            (context.directory / file).touch()
        context.run(*(word.replace("{}", str(context.directory)) for word in words), user=user)

    return run


def python(code: str, *, user: int | None = None) -> Step:
    """Return a step that runs Python code, perhaps as another user."""

    def run(context: DemoContext) -> None:
        context.run(sys.executable, "-I", "-c", code, user=user)

    return run


def program(name: str) -> Step:
    """Return a step that runs one of the demo's programs."""

    def run(context: DemoContext) -> None:
        context.python(name)

    return run


def inside(*command: str, tty: bool = False) -> Step:
    """Return a step that runs a program in a container, perhaps with a terminal."""

    def run(context: DemoContext) -> None:
        context.in_container(*command, tty=tty)

    return run


def in_container(rule: str, priority: str, does: str, run: Step) -> DemoAction:
    """Return an action in a container."""
    return DemoAction(rule, priority, does, run, _IN_CONTAINER, frozenset({"root", "docker"}))
