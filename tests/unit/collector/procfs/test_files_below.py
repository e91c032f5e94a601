import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from collector.procfs.foreign_files import closing, open_made_by_root, read_below
from tests.roots import roots_folder

NOBODY = 65534
pytestmark = pytest.mark.skipif("CI" not in os.environ and os.geteuid() != 0, reason="only root has folders of its own")


@pytest.fixture
def roots() -> Iterator[Path]:
    """Provide a folder that only root can change."""
    with roots_folder() as folder:
        yield folder


@contextmanager
def listener(path: Path) -> Iterator[None]:
    """Listen on a socket until the end of the block."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        yield


def is_opened(path: Path, root: Path = Path("/")) -> bool:
    """Return whether a path counts as made by root."""
    try:
        with closing(open_made_by_root(str(path), str(root))) as descriptor:
            assert os.path.samestat(os.fstat(descriptor), (root / str(path).lstrip("/")).stat())
    except OSError:
        return False
    return True


def test_what_only_root_can_change_is_opened(roots: Path) -> None:
    """Folders, files, and a socket that a group may use."""
    (roots / "a").mkdir()
    (roots / "a" / "file").touch(0o644)
    with listener(roots / "a" / "s"):
        (roots / "a" / "s").chmod(0o660)

        assert all(map(is_opened, (roots, roots / "a", roots / "a" / "file", roots / "a" / "s")))


@pytest.mark.parametrize(
    ("changed", "owner", "mode"),
    [
        ("a", NOBODY, 0o755),
        ("a", 0, 0o775),
        ("a", 0, 0o757),
        ("a", 0, 0o1777),
        ("a/b", NOBODY, 0o700),
        ("a/b/file", NOBODY, 0o644),
        ("a/b/file", 0, 0o646),
    ],
)
def test_what_others_can_change_is_not_opened(roots: Path, changed: str, owner: int, mode: int) -> None:
    """The file or a folder above it, also a sticky one, in which anybody can be the first to make a name."""
    (roots / "a" / "b").mkdir(parents=True)
    (roots / "a" / "b" / "file").touch(0o644)
    assert is_opened(roots / "a" / "b" / "file")
    os.chown(roots / changed, owner, 0)
    (roots / changed).chmod(mode)

    assert not is_opened(roots / "a" / "b" / "file")


def test_another_users_socket_is_not_opened(roots: Path) -> None:
    """Root may have given the socket away, but not the folder."""
    with listener(roots / "s"):
        os.chown(roots / "s", NOBODY, 0)

        assert not is_opened(roots / "s")


def test_roots_links_are_followed_and_no_others(roots: Path) -> None:
    """/var/run is one; what it leads to has to be root's as well."""
    for folder in ("real", "open"):
        (roots / folder).mkdir()
        (roots / folder / "file").touch(0o644)
    (roots / "open").chmod(0o777)
    (roots / "absolute").symlink_to(roots / "real")
    (roots / "relative").symlink_to("real/../real/./")
    (roots / "chain").symlink_to("absolute")
    (roots / "bad").symlink_to(roots / "open")
    (roots / "loop").symlink_to("loop")

    opened = {name: is_opened(roots / name / "file") for name in ("absolute", "relative", "chain", "bad", "loop")}

    assert opened == {"absolute": True, "relative": True, "chain": True, "bad": False, "loop": False}


def test_a_path_does_not_leave_its_root(roots: Path) -> None:
    """The root may be that of a process."""
    (roots / "file").touch(0o644)
    (roots / "up").symlink_to("../../file")
    (roots / "top").symlink_to("/file")

    for path in ("file", "../file", "up", "top", "/../file"):
        with closing(open_made_by_root(path, str(roots))) as descriptor:
            assert os.path.samestat(os.fstat(descriptor), (roots / "file").stat())


def test_a_missing_path_is_an_error(roots: Path) -> None:
    """As is one through a file."""
    (roots / "file").touch(0o644)

    assert not is_opened(roots / "none")
    assert not is_opened(roots / "file" / "x")


def test_no_descriptor_stays_open(roots: Path) -> None:
    """However it ends."""
    (roots / "loop").symlink_to("loop")
    (roots / "open").mkdir()
    (roots / "open").chmod(0o777)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for name in ("loop", "open", "none", ""):
        is_opened(roots / name)

    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_file_that_others_can_write_is_not_read_as_roots(roots: Path) -> None:
    """Its folder may be somebody else's."""
    for name, owner, mode in (("root", 0, 0o644), ("other", NOBODY, 0o644), ("writable", 0, 0o666)):
        (roots / name).write_text("x\n")
        os.chown(roots / name, owner, 0)
        (roots / name).chmod(mode)
    with closing(os.open(roots, os.O_PATH)) as folder:
        found = [read_below(folder, name, of_root=True) is not None for name in ("root", "other", "writable")]

    assert found == [True, False, False]
