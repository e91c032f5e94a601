import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from collector.containers.bundles.shims import Shim, parse_shim, shim_at, shim_of

SHIM = ("-namespace", "k8s.io", "-id", "a" * 64, "-address", "/run/c/containerd.sock")
pytestmark = pytest.mark.skipif("CI" not in os.environ and os.geteuid() != 0, reason="a shim is root's")


@contextmanager
def shim(directory: Path, *arguments: str, name: str = "containerd-shim-runc-v2") -> Iterator[tuple[int, int]]:
    """Run a real process with a shim's name, arguments and directory, and a child of it; yield their ids."""
    program = directory / name
    shutil.copy("/bin/bash", program)
    script = "sh -c 'echo $$; exec sleep 60' & wait"
    command = [str(program), "-c", script, "shim", *arguments]
    with subprocess.Popen(command, cwd=directory, stdout=subprocess.PIPE, text=True, start_new_session=True) as running:
        assert running.stdout is not None
        child = int(running.stdout.readline())
        try:
            yield running.pid, child
        finally:
            for pid in (child, running.pid):
                os.kill(pid, 9)


def nowhere(_: str) -> bool:
    """Answer that no cgroup is the container's."""
    return False


def test_containerds_shim_reveals_namespace_and_socket() -> None:
    """Its flags have one dash."""
    assert parse_shim(7, "containerd-shim", ["/usr/bin/containerd-shim-runc-v2", *SHIM]) == Shim(
        7, "k8s.io", "/run/c/containerd.sock"
    )


def test_conmon_reveals_the_bundle() -> None:
    """CRI-O and Podman start it with -b."""
    arguments = ["/usr/bin/conmon", "-b", "/run/containers/storage/overlay-containers/x/userdata", "-c", "x"]

    assert parse_shim(7, "conmon", arguments) == Shim(7, bundle=arguments[2])


@pytest.mark.parametrize(("comm", "arguments"), [("bash", SHIM), ("containerd-shim", ()), ("conmon", ("-b",))])
def test_another_process_is_no_shim(comm: str, arguments: tuple[str, ...]) -> None:
    """By its name, or because the flag's value is missing."""
    assert parse_shim(7, comm, arguments) is None


def test_a_process_of_a_container_leads_to_its_shim(tmp_path: Path) -> None:
    """The shim is an ancestor."""
    with shim(tmp_path, *SHIM) as (pid, child):
        assert shim_of(child, nowhere) == Shim(pid, "k8s.io", "/run/c/containerd.sock")


def test_a_shim_inside_the_container_is_not_believed(tmp_path: Path) -> None:
    """A container's process may take any name."""
    with shim(tmp_path, *SHIM) as (_, child):
        assert shim_of(child, lambda _: True) is None


def test_a_shim_of_another_user_is_not_believed(tmp_path: Path) -> None:
    """Only root's runtimes name containers."""
    proc = tmp_path / "proc" / "7"
    proc.mkdir(parents=True)
    proc.joinpath("stat").write_text("7 (conmon) S 1 7 7 0 -1 0 " + "0 " * 30)
    proc.joinpath("cmdline").write_bytes(b"conmon\0-b\0/x\0")
    status = "Name:\tconmon\nTgid:\t7\nPid:\t7\nPPid:\t1\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\nGid:\t0\t0\t0\t0\n"
    found = []
    for uid in (0, 1000):
        proc.joinpath("status").write_text(status.format(uid=uid))
        found.append(shim_of(7, nowhere, tmp_path / "proc"))

    assert found == [Shim(7, bundle="/x"), None]


def test_a_shim_that_a_container_runs_is_none(tmp_path: Path) -> None:
    """Root of a container could make up directories of bundles."""
    proc = tmp_path / "proc" / "7"
    proc.mkdir(parents=True)
    proc.joinpath("stat").write_text("7 (conmon) S 1 7 7 0 -1 0 " + "0 " * 30)
    proc.joinpath("cmdline").write_bytes(b"conmon\0-b\0/x\0")
    proc.joinpath("status").write_text("Tgid:\t7\nPid:\t7\nPPid:\t1\nUid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\n")
    found = []
    for cgroup in ("/system.slice/crio.service", f"/docker/{'a' * 64}"):
        proc.joinpath("cgroup").write_text(f"0::{cgroup}\n")
        found.append(shim_at(7, tmp_path / "proc"))

    assert found == [Shim(7, bundle="/x"), None]


def test_a_process_that_is_gone_has_none() -> None:
    """It lived for a millisecond."""
    assert shim_of(2**22 + 1, nowhere) is None
