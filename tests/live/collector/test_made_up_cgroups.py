"""Cgroup names chosen by an unprivileged user make no containers of the user's processes."""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.settings import CollectorSettings
from tests.live.collector.watching import watching
from tests.live.containers import Docker
from tests.live.needs import lacking

pytestmark = pytest.mark.containers

USER = 1000
ACT = """
import os, subprocess, sys
cgroup, marker = sys.argv[1:]
os.makedirs(cgroup)
with open(f"{cgroup}/cgroup.procs", "w") as processes:
    processes.write(str(os.getpid()))
subprocess.run(["cat", marker], check=True)
"""


@pytest.fixture
def delegated() -> Iterator[Path]:
    """Create the cgroup that systemd delegates to a logged-in user, in the hierarchy that identifies containers."""
    root = Path("/sys/fs/cgroup/pids")
    if not root.is_dir():
        root = Path("/sys/fs/cgroup")
    if os.geteuid() != 0 or not (root / "cgroup.procs").exists():
        lacking("no cgroups can be made here")
    service = root / "user.slice" / f"user-{USER}.slice" / f"user@{USER}.service"
    session = service / "session.scope"
    made = [path for path in (root / "user.slice", service.parent, service, session) if not path.exists()]
    try:
        session.mkdir(parents=True)
    except OSError as error:
        lacking(f"no cgroups can be made here: {error}")
    for path in (service, session):
        for each in (path, path / "cgroup.procs"):
            os.chown(each, USER, USER)
    try:
        yield service
    finally:
        deadline = time.monotonic() + 5
        for path in sorted((*service.rglob("*.scope"), *made), key=lambda each: -len(each.parts)):
            while path.exists() and time.monotonic() < deadline:
                with contextlib.suppress(OSError):
                    path.rmdir()


def test_a_user_does_not_pass_for_a_container_that_runs(docker: Docker, delegated: Path) -> None:
    """The user's cgroup is named like a real container's, but gets neither its id nor its name nor its image."""
    marker = Path("/tmp") / f"made-up-{os.getpid()}"
    marker.write_text("")
    settings = CollectorSettings(docker_socket=docker.socket)
    with (
        watching("open", "openat", settings=settings) as watch,
        docker.running(docker.busybox(), "-v", f"{marker}:{marker}") as name,
    ):
        full_id = docker.inspect(name, "{{.Id}}")
        join = f'echo $$ > {delegated}/session.scope/cgroup.procs && exec "$@"'
        as_user = ("setpriv", "--reuid", str(USER), "--regid", str(USER), "--clear-groups")
        act = ("/usr/bin/python3", "-I", "-c", ACT, f"{delegated}/app.slice/docker-{full_id}.scope", str(marker))
        watch.run("sh", "-c", join, "sh", *as_user, *act, cwd="/")
        watch.settle()
        outside = [event for event in watch.events(fd__name=str(marker), proc__name="cat") if event["user.uid"] == USER]
        docker.exec(name, "cat", str(marker))
        watch.settle()
        inside = [event for event in watch.events(fd__name=str(marker), proc__name="cat") if event["user.uid"] == 0]
    marker.unlink()

    assert len(outside) == len(inside) == 1
    batch, process = outside[0].batch, outside[0].batch.columns["process"][outside[0].index]
    assert (batch.processes[process].cgroup or "").endswith(f"docker-{full_id}.scope")
    assert outside[0]["container.id"] == "host"
    assert outside[0]["container.image"] is None
    assert inside[0]["container.full_id"] == full_id
    assert inside[0]["container.name"] == name
