"""A root directory of one's own hides no act on the host's files: each is done as root of this machine."""

import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from foundation.errors import EnvironmentUnsupported
from tests.live.needs import lacking
from tests.live.watching import Watch

pytestmark = pytest.mark.live

RULE = "Write scheduled job"
# cron ignores names with dots.
_ACT = """
import ctypes, os, sys, threading
kind, name, top = sys.argv[1:]
libc = ctypes.CDLL(None)
def check(result):
    if result:
        raise OSError(ctypes.get_errno())
def bind(source, target):
    os.makedirs(target, exist_ok=True)
    check(libc.mount(source.encode(), target.encode(), None, 4096, None))
def write(folder="/etc/cron.d"):
    os.close(os.open(f"{folder}/{name}.a", os.O_WRONLY | os.O_CREAT))
    os.rename(f"{folder}/{name}.a", f"{folder}/{name}.b")
inside = os.open("/", os.O_RDONLY)
mounted = {"bind": f"{top}/all", "below": f"{top}/etc", "link": f"{top}/mnt"}.get(kind)
if kind == "namespace":
    check(libc.unshare(0x20000))
    check(libc.mount(b"none", b"/", None, 0x44000, None))
    bind("/etc", f"{top}/etc")
if mounted:
    bind({"bind": "/", "below": "/etc", "link": "/etc"}[kind], mounted)
if kind == "link":
    os.symlink("/mnt", f"{top}/etc")
if kind == "thread":
    def leave():
        check(libc.unshare(0x200))
        os.makedirs(f"{top}/etc/cron.d")
        os.chroot(top)
    thread = threading.Thread(target=leave)
    thread.start()
    thread.join()
else:
    os.chroot({"proc": f"/proc/{os.getppid()}/root", "bind": mounted}.get(kind, top))
    os.chdir("/")
write()
os.fchdir(inside)
os.chroot(".")
if mounted:
    check(libc.umount2(mounted.encode(), 2))
for end in "ab":
    try:
        os.unlink(f"/etc/cron.d/{name}.{end}")
    except FileNotFoundError:
        pass
"""


@pytest.fixture(scope="module")
def watch(bytecode: Path) -> Iterator[Watch]:
    """Watch this machine with the shipped rules."""
    watching = Watch(Path("/nonexistent"), bytecode, unknown_containers=False)
    try:
        watching.__enter__()
    except EnvironmentUnsupported as missing:
        lacking(missing.reason)
    try:
        yield watching
    finally:
        watching.__exit__(None, None, None)


@pytest.mark.parametrize("kind", ["proc", "bind", "below", "link", "namespace", "thread"])
def test_a_job_of_the_host_is_reported_from_any_root(watch: Watch, tmp_path: Path, kind: str) -> None:
    """Through /proc, bind mounts that last only for the action, in a mount namespace, beside a thread in a chroot."""
    name = f"lanner-{uuid.uuid4().hex[:8]}"
    job = f"/etc/cron.d/{name}"

    try:
        subprocess.run([sys.executable, "-I", "-c", _ACT, kind, name, tmp_path], check=True, timeout=30)
    finally:
        for end in "ab":
            with suppress(OSError):
                Path(f"{job}.{end}").unlink()

    for field, value in (("fd.name", f"{job}.a"), ("fs.path.target", f"{job}.b")):
        watch.find(lambda alert, f=field, v=value: alert.rule == RULE and alert.output_fields.get(f) == v)


def test_what_is_done_below_another_root_has_its_path(watch: Watch, tmp_path: Path) -> None:
    """A chroot that shows nothing of the host is a directory like others."""
    for folder in ("etc/cron.d", "usr/bin"):
        (tmp_path / folder).mkdir(parents=True)
    name, before = f"lanner-{uuid.uuid4().hex[:8]}", len(watch.alerts)

    subprocess.run([sys.executable, "-I", "-c", _ACT, "plain", name, tmp_path], check=True, timeout=30)
    subprocess.run([sys.executable, "-I", "-c", _ACT, "proc", name, tmp_path], check=True, timeout=30)

    watch.find(lambda alert: alert.output_fields.get("fs.path.target") == f"/etc/cron.d/{name}.b")
    jobs = [alert for alert in watch.alerts[before:] if name in alert.output and alert.rule == RULE]
    assert len(jobs) == 2
