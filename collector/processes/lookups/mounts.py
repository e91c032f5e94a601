"""Decides from mount tables alone which file systems respond by themselves, without another program or machine.

Pure. Anyone with a user namespace may mount FUSE in it and an overlay above that, whose type then proves nothing.
"""

from collections.abc import Sequence

from collector.processes.procfs.parse import Mounted

_LOCAL = frozenset(
    (
        *("ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "bcachefs", "zfs", "jfs", "reiserfs", "nilfs2", "erofs"),
        *("squashfs", "iso9660", "udf", "vfat", "exfat", "ntfs3", "tmpfs", "ramfs", "rootfs", "devtmpfs", "hugetlbfs"),
        *("proc", "sysfs", "devpts", "mqueue", "cgroup", "cgroup2", "cpuset", "securityfs", "selinuxfs", "debugfs"),
        *("tracefs", "bpf", "pstore", "configfs", "efivarfs", "fusectl", "binfmt_misc", "nsfs", "rpc_pipefs", "nfsd"),
    )
)
_OVERLAY = "overlay"
_LAYERS = ("lowerdir", "lowerdir+", "datadir+", "upperdir")
_MAX_OVERLAYS = 8
"""Maximum depth of nested overlays; the kernel allows two."""


def is_remote(mount: Mounted, host: Sequence[Mounted]) -> bool:
    """Return whether a file system may wait for another program or machine.

    An overlay depends on its layers. They are known only if it is mounted on the host too: there only root can mount,
    and the layers' paths are the host's.

    Args:
        mount: a mount in any process's namespace.
        host: the mounts of the host's own namespace.
    """
    return _is_remote(mount, host, _MAX_OVERLAYS)


def _is_remote(mount: Mounted, host: Sequence[Mounted], depth: int) -> bool:
    if mount.type != _OVERLAY:
        return mount.type not in _LOCAL
    own = next((each for each in host if each.type == _OVERLAY and each.device == mount.device), None)
    if own is None or depth == 0:
        return True
    for layer in _layers(own.options):
        below = _serving(layer if layer.startswith("/") else own.point.rpartition("/")[0] or "/", host, own)
        if below is not None and below.device != own.device and _is_remote(below, host, depth - 1):
            return True
    return False


def _layers(options: str) -> list[str]:
    found: list[str] = []
    for option in options.split(","):
        key, _, value = option.partition("=")
        if key in _LAYERS:
            found += [path for path in value.split(":") if path]
    return found


def _serving(path: str, host: Sequence[Mounted], but: Mounted) -> Mounted | None:
    """Return the mount that holds a path of the host."""
    best: Mounted | None = None
    for mount in host:
        point = mount.point.rstrip("/")
        is_above = path == mount.point or path.startswith(f"{point}/")
        if is_above and mount is not but and (best is None or len(mount.point) >= len(best.point)):
            best = mount
    return best
