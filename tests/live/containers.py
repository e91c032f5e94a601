"""Images and containers for the tests, in a daemon that lasts as long as the session."""

import subprocess
import tarfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

from tests.live.debian_image import debian_tar
from tests.live.dockerd import Dockerd

DEBIAN = "lanner-tests/debian:bookworm"
BUSYBOX = "lanner-tests/busybox:1.35"
BUSYBOX_PROGRAM = Path("/bin/busybox")
APPLETS = ("sh", "ash", "cat", "chmod", "cp", "echo", "id", "ln", "ls", "mkdir", "rm", "sleep", "touch", "true", "vi")
FILES = {
    "etc/passwd": b"root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1000::/:/bin/sh\n",
    "etc/group": b"root:x:0:\nalice:x:1000:\n",
    "etc/shadow": b"root:*:19000:0:99999:7:::\n",
}


class Docker:
    """The daemon as tests use it: images made on first use, and containers."""

    def __init__(self, daemon: Dockerd) -> None:
        """Take a running daemon."""
        self.daemon = daemon
        self._images: set[str] = set()

    @property
    def socket(self) -> Path:
        """The daemon's socket, for a collector."""
        return self.daemon.socket

    def debian(self) -> str:
        """Return the name of a minimal Debian image; raises NoDebian."""
        if DEBIAN not in self._images:
            self.daemon.load(debian_tar(), DEBIAN)
            self._images.add(DEBIAN)
        return DEBIAN

    def busybox(self) -> str:
        """Return the name of an image of one megabyte that contains only busybox and three account files."""
        if BUSYBOX not in self._images:
            tar = self.daemon.base / "busybox.tar"
            write_busybox_tar(tar)
            self.daemon.load(tar, BUSYBOX)
            self._images.add(BUSYBOX)
        return BUSYBOX

    def run(self, image: str, *command: str, options: tuple[str, ...] = (), tty: bool = False) -> str:
        """Run a container to its end and return its output; its exit code is ignored."""
        name = f"run-{uuid.uuid4().hex[:8]}"
        flags = ("--rm", "--name", name, "--network", "host", *(("-t",) if tty else ()), *options)
        return self.daemon.client("run", *flags, image, *command, check=False, timeout=180).stdout

    def exec(self, container: str, *command: str, tty: bool = False, options: tuple[str, ...] = ()) -> str:
        """Run a process in a running container and return its output."""
        flags = ("-t",) if tty else ()
        return self.daemon.client("exec", *flags, *options, container, *command, check=False, timeout=180).stdout

    @contextmanager
    def running(
        self, image: str, *options: str, name: str | None = None, command: tuple[str, ...] = ()
    ) -> Iterator[str]:
        """Run a container until the end of the block; yield its name. command: its first process, if it isn't idle."""
        name = name or f"idle-{uuid.uuid4().hex[:8]}"
        flags = ("--detach", *(() if command else ("--init",)), "--name", name, "--network", "host", *options)
        self.daemon.client("run", *flags, image, *(command or ("sleep", "3600")))
        try:
            yield name
        finally:
            self.daemon.client("rm", "--force", "--volumes", name, check=False)

    def build(self, directory: Path, tag: str) -> subprocess.CompletedProcess[str]:
        """Build an image from a directory with the old builder, the only one that needs no registry."""
        return self.daemon.client("build", "--network", "host", "-t", tag, str(directory), check=False, timeout=300)

    def inspect(self, container: str, template: str) -> str:
        """Return a fact from the daemon, by a Go template."""
        return self.daemon.client("inspect", "--format", template, container).stdout.strip()


def write_busybox_tar(target: Path) -> None:
    """Write a root directory with busybox, links for its applets, and account files; raises FileNotFoundError."""
    with tarfile.open(target, "w") as tar:
        _add(tar, "bin/busybox", BUSYBOX_PROGRAM.read_bytes(), 0o755)
        for applet in APPLETS:
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        for name, content in FILES.items():
            _add(tar, name, content, 0o600 if name == "etc/shadow" else 0o644)
        directory = tarfile.TarInfo("tmp")
        directory.type, directory.mode = tarfile.DIRTYPE, 0o1777
        tar.addfile(directory)


def _add(tar: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    tar.addfile(entry, BytesIO(content))
