import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from collector.containers.bundles import Shim, parse_shim, shim_at, shim_of
from collector.processes.container_names import ContainerName

NAME = ContainerName("containerd", "b" * 64, None, f"/docker/{'b' * 64}")
_CLONE_NEWNS, _CLONE_NEWUSER = 0x20000, 0x10000000
_PR_SET_DUMPABLE = 4
SHIM = ("-namespace", "k8s.io", "-id", "a" * 64, "-address", "/run/c/containerd.sock")
pytestmark = pytest.mark.skipif("CI" not in os.environ and os.geteuid() != 0, reason="a shim is root's")


@contextmanager
def shim(
    directory: Path, *arguments: str, name: str = "containerd-shim-runc-v2", **options: Any
) -> Iterator[tuple[int, int]]:
    """Run a real process with a shim's name, arguments and directory, and a child of it; yield their ids.

    options: of the process, such as its user.
    """
    program = directory / name
    if not program.exists():
        shutil.copy("/bin/bash", program)
    script = "sh -c 'echo $$; exec sleep 60' & wait"
    command = [str(program), "-p", "-c", script, "shim", *arguments]
    with subprocess.Popen(
        command, cwd=directory, stdout=subprocess.PIPE, text=True, start_new_session=True, **options
    ) as running:
        assert running.stdout is not None
        child = int(running.stdout.readline())
        try:
            yield running.pid, child
        finally:
            for pid in (child, running.pid):
                os.kill(pid, 9)


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


def test_a_process_of_a_container_leads_to_its_shim(roots: Path) -> None:
    """The shim is an ancestor."""
    with shim(roots, *SHIM) as (pid, child):
        found = Shim(pid, "k8s.io", "/run/c/containerd.sock")

        assert (shim_of(child, NAME), shim_at(pid)) == (found, found)


def test_a_shim_whose_program_was_replaced_is_believed(roots: Path) -> None:
    """An upgrade removes the file that it still runs."""
    with shim(roots, *SHIM) as (pid, _):
        (roots / "containerd-shim-runc-v2").unlink()

        assert shim_at(pid) is not None


@pytest.mark.parametrize(
    ("owner", "mode", "options"),
    [
        (0, 0o755, {"user": 65534}),
        (0, 0o4755, {"user": 65534}),
        (0, 0o4755, {}),
        (0, 0o2755, {}),
        (65534, 0o755, {}),
        (0, 0o757, {}),
        (0, 0o775, {}),
    ],
)
def test_a_process_that_others_may_have_made_a_shim_is_none(
    roots: Path, owner: int, mode: int, options: dict[str, Any]
) -> None:
    """Another user's, one with root's rights by a setuid bit, and programs that others may have written."""
    program = roots / "containerd-shim-runc-v2"
    shutil.copy("/bin/bash", program)
    os.chown(program, owner, 0)
    program.chmod(mode)
    with shim(roots, *SHIM, **options) as (pid, child):
        assert (shim_of(child, NAME), shim_at(pid)) == (None, None)


def test_another_program_by_the_name_of_a_link_is_no_shim(roots: Path) -> None:
    """Whoever starts a program names it, so it is known by the kernel's name of its file."""
    (roots / "containerd-shim-runc-v2").symlink_to("/bin/bash")
    with shim(roots, *SHIM) as (pid, child):
        assert (shim_of(child, NAME), shim_at(pid)) == (None, None)


def test_root_of_a_users_namespace_is_not_root(roots: Path) -> None:
    """It has root's id inside of it only."""

    def enter() -> None:
        os.setuid(65534)
        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_DUMPABLE, 1)
        if libc.unshare(_CLONE_NEWUSER) == 0:
            Path("/proc/self/uid_map").write_text("0 65534 1", encoding="ascii")

    with shim(roots, *SHIM, preexec_fn=enter) as (pid, child):
        assert (shim_of(child, NAME), shim_at(pid)) == (None, None)


def test_a_shim_in_mounts_of_its_own_is_in_a_container(roots: Path) -> None:
    """Its cgroup's name alone may not reveal it."""
    with shim(roots, *SHIM, preexec_fn=lambda: ctypes.CDLL(None).unshare(_CLONE_NEWNS)) as (pid, child):
        assert (shim_of(child, NAME), shim_at(pid)) == (None, None)


def written_shim(proc: Path, cgroup: str, directory: Path) -> None:
    """Write process 7 to a procfs of the test's own: root's shim in a cgroup, working in a directory."""
    process, program = proc / "7", proc / "containerd-shim"
    for each in ("1", "7"):
        (proc / each / "ns").mkdir(parents=True)
        (proc / each / "ns" / "mnt").symlink_to("/proc/self/ns/mnt")
    program.touch(0o755)
    (process / "stat").write_text("7 (containerd-shim) S 1 7 7 0 -1 0 " + "0 " * 30)
    (process / "cmdline").write_bytes("\0".join(("shim", *SHIM, "")).encode())
    (process / "status").write_text("Tgid:\t7\nPid:\t7\nPPid:\t1\nUid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\n")
    (process / "cgroup").write_text(f"0::{cgroup}\n")
    for link, target in (("7/exe", program), ("7/cwd", directory), ("7/root", "/"), ("self", "/proc/self")):
        (proc / link).symlink_to(target)


OUTER = f"/docker/{'a' * 64}"
NESTED = ContainerName("containerd", "b" * 64, None, f"{OUTER}/x", outer=OUTER)


@pytest.mark.parametrize(
    ("cgroup", "of_hosts", "of_nested"),
    [
        ("/system.slice/crio.service", True, False),
        (NAME.cgroup, False, False),
        (OUTER, False, True),
        (f"{OUTER}/system.slice/containerd.service", False, True),
        (f"{NESTED.cgroup}/y", False, False),
    ],
)
def test_a_shim_is_believed_where_its_runtime_is(roots: Path, cgroup: str, *, of_hosts: bool, of_nested: bool) -> None:
    """On the host or, as on a node of kind, in the outermost container; a container's root could make up folders."""
    written_shim(roots, cgroup, roots)
    found = [shim is not None for shim in (shim_of(7, NAME, roots), shim_at(7, roots), shim_of(7, NESTED, roots))]

    assert found == [of_hosts, of_hosts, of_nested]


def test_a_process_that_is_gone_has_none() -> None:
    """It lived for a millisecond."""
    assert shim_of(2**22 + 1, NAME) is None
