import pytest

from collector.procfs.foreign_files import is_remote
from collector.procfs.parse import Mounted

ROOT = Mounted("/", "ext4", "8:1")
LAYERS = (
    "rw,lowerdir=/var/lib/docker/overlay2/l/A:/var/lib/docker/overlay2/l/B,upperdir=/var/lib/docker/overlay2/x/diff"
)
MERGED = "/var/lib/docker/overlay2/x/merged"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        *((kind, False) for kind in ("ext4", "xfs", "btrfs", "tmpfs", "proc", "cgroup2")),
        *((kind, True) for kind in ("fuse", "fuse.sshfs", "fuseblk", "nfs4", "9p", "virtiofs", "autofs", "unheard-of")),
    ],
)
def test_only_what_is_known_to_be_local_is(kind: str, *, expected: bool) -> None:
    """An unknown file system may be anything."""
    assert is_remote(Mounted("/etc", kind, "0:9"), [ROOT]) is expected


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ([ROOT], True),
        ([ROOT, Mounted(MERGED, "overlay", "0:20", LAYERS)], False),
        ([ROOT, Mounted(MERGED, "overlay", "0:21", LAYERS)], True),
        ([ROOT, Mounted(MERGED, "fuse", "0:20", LAYERS)], True),
        # A layer on FUSE, as in lazily loaded images
        ([ROOT, Mounted("/lazy", "fuse.x", "0:8"), Mounted(MERGED, "overlay", "0:20", "lowerdir=/lazy/a:/b")], True),
        ([ROOT, Mounted("/lazy", "fuse.x", "0:8"), Mounted(MERGED, "overlay", "0:20", "lowerdir+=/lazy/a")], True),
        ([ROOT, Mounted("/lazy", "fuse.x", "0:8"), Mounted(MERGED, "overlay", "0:20", "lowerdir=/lazyb/a")], False),
        # Docker writes layers relative to its folder if there are many
        ([ROOT, Mounted(MERGED, "overlay", "0:20", "lowerdir=l/A:l/B,upperdir=x/diff")], False),
        (
            [ROOT, Mounted("/var/lib/docker", "nfs", "0:8"), Mounted(MERGED, "overlay", "0:20", "lowerdir=l/A:l/B")],
            True,
        ),
        # Overlays on top of others
        (
            [Mounted("/", "overlay", "0:3", "lowerdir=/outside/our/world"), Mounted(MERGED, "overlay", "0:20", LAYERS)],
            False,
        ),
        (
            [
                ROOT,
                Mounted("/f", "fuse", "0:8"),
                Mounted("/o", "overlay", "0:3", "lowerdir=/f"),
                Mounted(MERGED, "overlay", "0:20", "lowerdir=/o/x"),
            ],
            True,
        ),
    ],
)
def test_an_overlay_is_what_its_layers_are(host: list[Mounted], *, expected: bool) -> None:
    """If the host hasn't mounted it, its layers are unknown."""
    assert is_remote(Mounted("/", "overlay", "0:20", LAYERS), host) is expected


def test_overlays_that_are_each_other_s_layers_end() -> None:
    """No mount table may keep the reader busy."""
    host = [Mounted("/a", "overlay", "0:3", "lowerdir=/b/x"), Mounted("/b", "overlay", "0:4", "lowerdir=/a/x")]

    assert is_remote(host[0], host)
