"""The tests' own Docker daemon does what the other tests rely on, and leaves nothing behind."""

from pathlib import Path

import pytest

from tests.live.containers import Docker
from tests.live.dockerd import Dockerd, NoDocker
from tests.live.needs import lacking

pytestmark = pytest.mark.containers


def test_busybox_image_runs_a_shell_with_a_terminal(docker: Docker) -> None:
    """A container with -t has a terminal, even if the client has none."""
    assert "not a tty" not in docker.run(docker.busybox(), "sh", "-c", "ls -l /proc/self/fd/0", tty=True)


def test_debian_image_holds_apt(docker: Docker) -> None:
    """The image built by debootstrap can run its package manager."""
    with docker.running(docker.debian()) as name:
        assert docker.exec(name, "apt-get", "--version").startswith("apt ")


def test_closing_leaves_no_process_mount_or_file() -> None:
    """Even with a container still running, everything below the daemon's directory is removed."""
    try:
        with Dockerd() as daemon:
            docker = Docker(daemon)
            daemon.client("run", "--detach", "--network", "none", docker.busybox(), "sleep", "600")
            base = daemon.base
    except NoDocker as missing:
        lacking(str(missing))

    assert not base.exists()
    assert str(base) not in Path("/proc/self/mountinfo").read_text()
    assert [path for path in Path("/proc").glob("[0-9]*/cmdline") if str(base).encode() in _read(path)] == []


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
