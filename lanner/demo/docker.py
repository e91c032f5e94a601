"""Containers for the actions, from an image made of this machine's programs, because no image can be assumed.

Downloads nothing, and removes the image when the demo ends.
"""

import io
import shutil
import subprocess
import tarfile
import uuid
from pathlib import Path
from types import TracebackType
from typing import Self

_ONLY_NAMED = ("apt-get", "socat", "rsync", "wget", "kubectl", "debugfs", "tar", "base64")
PROGRAMS = {
    **{name: name for name in ("sh", "cat", "cp", "mkdir", "true", "perl")},
    **dict.fromkeys(_ONLY_NAMED, "true"),
}
"""Name in the image to this machine's program; those needed only for their names are copies of true."""

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
        for name, program in PROGRAMS.items():
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
