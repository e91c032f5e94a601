"""The shipped rules detect actions through io_uring, on the host and in a container."""

import shutil
import subprocess
from pathlib import Path

import pytest

from schemas.alert import Alert
from tests.live.compiled import Programs
from tests.live.containers import Docker
from tests.live.needs import io_uring
from tests.live.watching import Watch

pytestmark = [pytest.mark.live, pytest.mark.containers]

READ = "Read sensitive file untrusted"
SET_UP = "Set up io_uring in container"


@pytest.fixture(scope="module")
def program(programs: Programs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the program that performs the actions, in a directory that a container can mount."""
    io_uring()
    folder = tmp_path_factory.mktemp("acts")
    return Path(shutil.copy(programs("io_uring_acts", static=True), folder / "acts"))


def reported(rule: str, command: str, watch: Watch, *, container: str | None = None) -> Alert:
    """Wait for an alert."""
    expected = {"proc.cmdline": command, **({"container.name": container} if container else {"container.id": "host"})}
    return watch.find(lambda alert: alert.rule == rule and expected.items() <= dict(alert.output_fields).items())


@pytest.mark.parametrize("variant", ["plain", "polled", "worker", "untold", "overflow"])
@pytest.mark.parametrize("act", ["open", "open-direct"])
def test_shadow_read_on_the_host(watch: Watch, program: Path, variant: str, act: str) -> None:
    """In whatever way the ring is asked to do it."""
    subprocess.run([str(program), variant, act, "/etc/shadow"], stdout=subprocess.DEVNULL, check=True)

    alert = reported(READ, f"acts {variant} {act} /etc/shadow", watch)
    assert alert.event["evt.io_uring"] is True
    assert (alert.output_fields["fd.name"], alert.output_fields["user.name"]) == ("/etc/shadow", "root")


def test_shadow_read_behind_a_link(watch: Watch, program: Path, tmp_path: Path) -> None:
    """The kernel's path reveals it."""
    link = tmp_path / "notes"
    link.symlink_to("/etc/shadow")

    subprocess.run([str(program), "polled", "open", str(link)], stdout=subprocess.DEVNULL, check=True)

    assert reported(READ, f"acts polled open {link}", watch).output_fields["fd.name"] == "/etc/shadow"


@pytest.mark.parametrize("variant", ["plain", "polled"])
def test_shadow_read_in_a_container(watch: Watch, docker: Docker, program: Path, variant: str) -> None:
    """Both the ring and its actions are reported, with the container."""
    name = f"ring-{variant}"
    volume = ("--volume", f"{program.parent}:/acts:ro")

    with docker.running(docker.busybox(), *volume, name=name):
        # The rules about what starting a container does are compiled at the first one, while its events wait.
        watch.settle()
        out = docker.exec(name, "/acts/acts", variant, "open", "/etc/shadow")

        assert int(out) >= 0
        for rule in (SET_UP, READ):
            alert = reported(rule, f"acts {variant} open /etc/shadow", watch, container=name)
            assert alert.event["evt.io_uring"] is (rule == READ)
