"""Where the files of a process with another root directory are, and when that is known."""

import os
import subprocess
import time
from pathlib import Path

import pytest

from collector.processes.host_mounts import HostMounts, shown_below
from collector.procfs.parse import Mounted

ROOT = Mounted("/", "ext4", "8:1")
PROC = Mounted("/srv/base/proc", "proc", "0:5")
DISK = Mounted("/srv/base", "ext4", "8:2")


@pytest.mark.parametrize(
    ("mounts", "expected"),
    [
        ((), ()),
        ((PROC, Mounted("/srv/base/dev", "devtmpfs", "0:6")), ("/srv/base/proc", "/srv/base/dev")),
        ((DISK,), ()),
        ((Mounted("/srv/base", "ext4", "8:1", root="/srv/base"),), ()),
        (
            (Mounted("/var", "ext4", "8:3"), Mounted("/srv/base/var/cache/apt", "ext4", "8:3", root="/cache/apt")),
            ("/srv/base/var/cache/apt",),
        ),
        ((Mounted("/srv/base/etc", "ext4", "8:9"),), ()),
        ((Mounted("/srv/base", "ext4", "8:1"),), None),
        ((DISK, Mounted("/srv/base", "ext4", "8:1")), None),
        ((Mounted("/srv/base/etc", "ext4", "8:1", root="/etc"),), None),
        ((DISK, Mounted("/srv/base/mnt/x", "ext4", "8:1", root="/usr")), None),
        ((Mounted("/usr", "ext4", "8:3"), Mounted("/srv/base/mnt", "ext4", "8:3", root="/bin")), None),
        ((Mounted("/srv/base/etc", "overlay", "0:40", "lowerdir=/x,upperdir=/etc"),), None),
        ((Mounted("/srv/base", "fuse.bindfs", "0:41"),), None),
        ((Mounted("/srv/base/etc/cron.d/x", "ext4", "8:1", root="/etc/cron.d/x"),), None),
    ],
)
def test_a_root_with_system_files_of_the_host_hides_nothing(
    mounts: tuple[Mounted, ...], expected: tuple[str, ...] | None
) -> None:
    """One of its own, with virtual file systems, caches and disks of its own, has paths below it."""
    assert shown_below("/srv/base", [ROOT, *mounts]) == expected


def test_without_a_table_of_mounts_nothing_is_known(tmp_path: Path) -> None:
    """As where the collector may not look at the first process."""
    mounts = HostMounts([str(tmp_path)])
    mounts.check()

    assert (mounts.namespace, mounts.outer("/srv/base", "/x", time.clock_gettime_ns(time.CLOCK_BOOTTIME))) == (0, "/x")


@pytest.mark.skipif("CI" not in os.environ and os.geteuid() != 0, reason="mounts a file system")
def test_what_happened_before_a_mount_is_not_known(tmp_path: Path) -> None:
    """Whoever mounts, does something and unmounts before anybody looks hides nothing."""
    top = str(tmp_path)
    holder = subprocess.Popen(["/usr/bin/unshare", "-m", "/bin/cat"], stdin=subprocess.PIPE)
    try:
        own = Path("/proc/self/ns/mnt").stat().st_ino
        while Path(f"/proc/{holder.pid}/ns/mnt").stat().st_ino == own:
            time.sleep(0.01)
        mounts = HostMounts([f"/proc/{holder.pid}"])
        now = lambda: time.clock_gettime_ns(time.CLOCK_BOOTTIME)  # noqa: E731
        before = now()
        assert mounts.outer(top, "/x", before) == f"{top}/x"
        mounted = f"mount --bind /etc {tmp_path} && umount {tmp_path}"
        subprocess.run(["/usr/bin/nsenter", "-t", str(holder.pid), "-m", "/bin/sh", "-c", mounted], check=True)
        between = now()
        mounts.check()

        assert mounts.outer(top, "/x", between) == "/x"
        assert mounts.outer(top, "/x", now()) == f"{top}/x"
        mounts.close()
    finally:
        holder.communicate()
