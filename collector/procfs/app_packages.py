"""Finds programs of snaps and of Flatpak's system-wide installation, which list no digests.

A snap is a read-only squashfs that root has mounted, so none of its files can change. What Flatpak deployed for all
users belongs to root, up to the directories above it. Users' own installations, and stores to which every user can add
(that of Nix), count for nothing.
"""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress

from collector.procfs.foreign_files import (
    Attributes,
    cached_stat,
    closing,
    mount_serving,
    open_made_by_root,
    read_below,
)
from collector.procfs.packages import ListedFile
from collector.procfs.parse import Mounted

_SNAP = re.compile(r"(/(?:var/lib/snapd/)?snap/([^/]{1,100}))/([^/]{1,100})")
"""Where snapd mounts: name and revision."""
_SNAP_VERSION = re.compile(rb"^version: *['\"]?([^\s'\"]{1,200})", re.MULTILINE)
_FLATPAK = re.compile(r"/var/lib/flatpak/(?:app|runtime)/([^/]{1,255})/[^/]+/([^/]{1,200})/[0-9a-f]{64}/files/.+")
"""Where Flatpak deploys: name, architecture, branch and commit."""
_MAX_SNAP_YAML = 1 << 16


def find_app(
    path: str, found: Attributes, own: Sequence[Mounted], host: Sequence[Mounted], host_root: str
) -> ListedFile | None:
    """Return the snap or Flatpak package that a file belongs to, without a digest; None if it belongs to none.

    Args:
        path: the file's path, for the process that ran it.
        found: the file's attributes.
        own: the mounts of that process, which may have a root of its own.
        host: the host's mounts.
        host_root: the host's root directory.

    Source: snapd, dirs/dirs.go; flatpak(1), and common/flatpak-dir.c on the layout of an installation.
    """
    return _find_snap(found, host, host_root) or _find_flatpak(path, found, own, host, host_root)


def _find_snap(found: Attributes, host: Sequence[Mounted], host_root: str) -> ListedFile | None:
    device = f"{os.major(found.device)}:{os.minor(found.device)}"
    for mount in host:
        place = _SNAP.fullmatch(mount.point) if mount.type == "squashfs" and mount.device == device else None
        if place is None:
            continue
        flags = os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW
        with (
            suppress(OSError),
            closing(open_made_by_root(place[1], host_root)) as folder,
            closing(os.open(place[3], flags, dir_fd=folder)) as root,
        ):
            if cached_stat(root).device == found.device:
                read = read_below(root, "meta/snap.yaml", links=False, limit=_MAX_SNAP_YAML)
                version = read and _SNAP_VERSION.search(read[0])
                return ListedFile(
                    place[2], version[1].decode("utf-8", "replace") if version else place[3], "", "", "snap"
                )
    return None


def _find_flatpak(
    path: str, found: Attributes, own: Sequence[Mounted], host: Sequence[Mounted], host_root: str
) -> ListedFile | None:
    for outer in (path, *_outside(path, own, host)):
        place = _FLATPAK.fullmatch(outer)
        if place is not None:
            with suppress(OSError), closing(open_made_by_root(outer, host_root)) as file:
                same = cached_stat(file)
                if (same.device, same.inode) == (found.device, found.inode):
                    return ListedFile(place[1], place[2], "", "", "flatpak")
    return None


def _outside(path: str, own: Sequence[Mounted], host: Sequence[Mounted]) -> Iterator[str]:
    """Yield the paths on the host of a path in a sandbox, such as /app/bin/x, whose mounts show directories of it."""
    inside = mount_serving(path, own)
    if inside is None:
        return
    below = f"{inside.root.rstrip('/')}{path[len(inside.point.rstrip('/')) :]}"
    for mount in host:
        root = mount.root.rstrip("/")
        if mount.device == inside.device and below.startswith(f"{root}/"):
            yield f"{mount.point.rstrip('/')}{below[len(root) :]}"
