"""Quarantine of real files, on the host and in a container with a root folder of its own."""

import os
import shutil
import socket
import stat
import subprocess
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from collector.actions import files
from collector.actions.effect import ActionRefused, TargetGone
from collector.actions.files import Quarantine
from schemas.action import ActionIntent
from tests.live.collector.actions.container import Container, container, intent

BUSYBOX = Path("/bin/busybox")


@pytest.fixture
def quarantine(tmp_path: Path) -> Quarantine:
    """Return the action with a folder of the test's own."""
    return Quarantine(tmp_path / "state")


@pytest.fixture
def inside(tmp_path: Path) -> Iterator[tuple[Container, Path]]:
    """Start a container, and return it with its root folder."""
    root = tmp_path / "root"
    for each in ("bin", "srv", "mnt"):
        (root / each).mkdir(parents=True)
    for name in ("sh", "sleep"):
        shutil.copy(BUSYBOX, root / "bin" / name)
    with container("-R", str(root)) as one:
        yield one, root


def of(path: Path | str, container_id: str = "", identifier: str = "i") -> ActionIntent:
    """Return the intent to quarantine a file."""
    return intent("quarantine", "file", lease=0, identifier=identifier, path=str(path), container_id=container_id)


def facts(path: Path) -> tuple[object, ...]:
    """Return everything that restoring has to restore."""
    status = path.stat()
    xattrs = {name: os.getxattr(path, name) for name in os.listxattr(path)}
    return path.read_bytes(), status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns, xattrs


def test_a_program_of_a_container_is_quarantined_and_restored_exactly(
    quarantine: Quarantine, inside: tuple[Container, Path], tmp_path: Path
) -> None:
    """Its content, mode, owner, times and capabilities are the same; the copy can't be run."""
    one, root = inside
    program = root / "srv/miner"
    shutil.copy(BUSYBOX, program)
    os.chown(program, 1000, 1001)
    program.chmod(0o6755)
    os.setxattr(program, "user.note", b"\0\xff")
    subprocess.run(("setcap", "cap_net_raw+ep", str(program)), check=True)
    os.utime(program, ns=(5, 1_000_000_007))
    before = facts(program)
    what = of("/srv/miner", one.id)

    effect = quarantine.do(what)

    assert f"SHA-256 {sha256(BUSYBOX.read_bytes()).hexdigest()}" in effect.text
    assert os.listdir(root / "srv") == []  # noqa: PTH208
    copy = Path(str(effect.undo["copy"]))
    assert copy.is_relative_to(tmp_path / "state/quarantine")
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    with pytest.raises(TargetGone, match="/srv/miner no longer exists"):
        quarantine.do(what)

    assert quarantine.undo(what, effect.undo) == "restored /srv/miner"
    assert facts(program) == before
    assert os.listdir(root / "srv") == ["miner"]  # noqa: PTH208
    assert quarantine.undo(what, effect.undo) == "/srv/miner was restored already"


def test_restoring_overwrites_nothing(quarantine: Quarantine, inside: tuple[Container, Path], tmp_path: Path) -> None:
    """Neither a new file nor what a link refers to; the copy stays."""
    one, root = inside
    file, victim = root / "srv/x", tmp_path / "victim"
    file.write_text("bad")
    what = of("/srv/x", one.id)
    effect = quarantine.do(what)
    file.symlink_to(victim)
    with pytest.raises(OSError, match="/srv/x exists again: it isn't overwritten"):
        quarantine.undo(what, effect.undo)
    assert not victim.exists()
    file.unlink()
    (root / "srv").rename(root / "old")
    (root / "srv").symlink_to("/mnt")
    with pytest.raises(TargetGone, match="no longer exists; the copy is /"):
        quarantine.undo(what, effect.undo)
    assert os.listdir(root / "mnt") == []  # noqa: PTH208
    one.end()
    with pytest.raises(TargetGone, match="the container has no process any more; the copy is /"):
        quarantine.undo(what, effect.undo)


@pytest.mark.parametrize("kind", ["FIFO", "device", "folder", "symbolic link", "socket"])
def test_only_regular_files_are_moved(quarantine: Quarantine, tmp_path: Path, kind: str) -> None:
    """None of the others is opened: that may block, or have an effect."""
    path = tmp_path / "it"
    match kind:
        case "FIFO":
            os.mkfifo(path)
        case "device":
            os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(10, 130))
        case "folder":
            path.mkdir()
        case "symbolic link":
            path.symlink_to("/etc/passwd")
        case _:
            socket.socket(socket.AF_UNIX).bind(str(path))
    with pytest.raises(ActionRefused, match=f"it is a {kind}, not a regular file"):
        quarantine.do(of(path))
    assert os.path.lexists(path)


def test_links_count_only_where_nobody_but_root_can_make_them(quarantine: Quarantine, tmp_path: Path) -> None:
    """Otherwise whoever can write to a folder could have any file removed."""
    (tmp_path / "real").mkdir()
    for name, mode in (("open", 0o777), ("roots", 0o755)):
        folder = tmp_path / name
        folder.mkdir()
        folder.chmod(mode)
        (folder / "link").symlink_to(tmp_path / "real")
    file = tmp_path / "real/x"
    file.write_text("x")
    with pytest.raises(ActionRefused, match="leads through a link that others than root can change"):
        quarantine.do(of(tmp_path / "open/link/x"))
    assert file.exists()
    # The folder of all temporary files is not only root's.
    with pytest.raises(ActionRefused, match="leads through a link that others than root can change"):
        quarantine.do(of(tmp_path / "roots/link/x"))


def test_a_file_that_root_cant_remove_is_quarantined_too(quarantine: Quarantine, tmp_path: Path) -> None:
    """Attackers like chattr +i; it is restored with that, and stays so if the action is refused."""
    path = tmp_path / "x"
    path.write_text("x")
    subprocess.run(("chattr", "+i", str(path)), check=True)
    try:
        effect = quarantine.do(of(path))
        assert not path.exists()
        quarantine.undo(of(path), effect.undo)
        with pytest.raises(PermissionError):
            path.unlink()
        subprocess.run(("chattr", "+i", str(tmp_path)), check=True)
        with pytest.raises(ActionRefused, match="it can't be removed: Operation not permitted"):
            quarantine.do(of(path))
        subprocess.run(("chattr", "-i", str(tmp_path)), check=True)
        with pytest.raises(PermissionError):
            path.unlink()
    finally:
        subprocess.run(("chattr", "-i", str(tmp_path), str(path)), check=False)


def test_a_link_of_root_is_followed(quarantine: Quarantine, inside: tuple[Container, Path]) -> None:
    """As /bin is one on most systems, in a container as well, and never out of it."""
    one, root = inside
    (root / "usr/bin").mkdir(parents=True)
    (root / "sbin").symlink_to("/usr/../../../usr/bin")
    (root / "usr/bin/x").write_text("x")
    effect = quarantine.do(of("/sbin/x", one.id))
    assert effect.undo["path"] == "/usr/bin/x"
    quarantine.undo(of("/sbin/x", one.id), effect.undo)
    assert (root / "usr/bin/x").read_text() == "x"


def test_other_names_of_a_file_become_harmless(quarantine: Quarantine, tmp_path: Path) -> None:
    """Its owner can't permit it again. A file of root may have been linked by somebody else."""
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("x")
    one.chmod(0o755)
    os.chown(one, 1000, 1000)
    os.link(one, other)
    effect = quarantine.do(of(one))
    assert "1 other name of it lost all permissions" in effect.text
    assert (stat.S_IMODE(other.stat().st_mode), other.stat().st_uid) == (0, 0)
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    os.link(other, folder / "sudo")
    with pytest.raises(ActionRefused, match="it is root's and has 1 more name: anybody may have linked it here"):
        quarantine.do(of(folder / "sudo"))


def test_a_file_that_takes_the_place_of_another_stays(
    quarantine: Quarantine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the copy and the removal: an upgrade, or an attacker with a file of somebody else."""
    path, copy = tmp_path / "x", files._copy_in
    path.write_text("bad")

    def swap(file: int, content: Path) -> tuple[str, int]:
        found = copy(file, content)
        path.rename(tmp_path / "moved")
        path.write_text("good")
        return found

    monkeypatch.setattr(files, "_copy_in", swap)
    with pytest.raises(ActionRefused, match="another file got its name just now"):
        quarantine.do(of(path))
    assert (path.read_text(), (tmp_path / "moved").read_text()) == ("good", "bad")
    assert stat.S_IMODE(path.stat().st_mode) != 0
    assert os.listdir(tmp_path / "state/quarantine") == []  # noqa: PTH208
    assert sorted(os.listdir(tmp_path)) == ["moved", "state", "x"]  # noqa: PTH208


def test_sizes_are_bounded(quarantine: Quarantine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sparse file, one that grows while it is copied, and a full disk."""
    path = tmp_path / "x"
    path.touch()
    os.truncate(path, 1 << 40)
    with pytest.raises(ActionRefused, match="it has 1,099,511,627,776 bytes"):
        quarantine.do(of(path))
    os.truncate(path, 100)
    monkeypatch.setattr(files, "MAX_BYTES", 100)
    monkeypatch.setattr(files, "_xattrs", lambda _: os.truncate(path, 200) or {})
    with pytest.raises(ActionRefused, match="it has grown; 100 bytes are allowed"):
        quarantine.do(of(path))
    monkeypatch.setattr(files, "MAX_BYTES", 300)
    monkeypatch.setattr(files, "_RESERVE", 1 << 60)
    with pytest.raises(ActionRefused, match="too little space for a copy of 200 bytes"):
        quarantine.do(of(path))
    assert path.stat().st_size == 200


def test_what_is_mounted_is_refused(quarantine: Quarantine, inside: tuple[Container, Path], tmp_path: Path) -> None:
    """Over the file; with layers that are unknown; and our own files, whatever the container calls them."""
    one, root = inside
    (root / "srv/x").write_text("below")
    (root / "srv/y").write_text("above")
    (tmp_path / "state").mkdir()
    (tmp_path / "state/journal").write_text("ours")
    lower = tmp_path / "lower"
    lower.mkdir()
    (lower / "z").write_text("z")
    (root / "o").mkdir()
    for command in (
        f"mount --bind {root}/srv/y {root}/srv/x",
        f"mount --bind {tmp_path}/state {root}/mnt",
        f"mount -t overlay o -o lowerdir={lower}:{root}/srv {root}/o",
    ):
        assert one.inside(*command.split(), namespaces="-m").returncode == 0
    for path, reason in (
        ("/srv/x", "something is mounted over it"),
        ("/mnt/journal", f"Lanner itself needs {tmp_path}/state/journal"),
        ("/o/z", "a file system that doesn't respond: overlay at /o"),
    ):
        with pytest.raises(ActionRefused, match=reason):
            quarantine.do(of(path, one.id))
    assert (root / "srv/x").read_text() == "below"


@pytest.mark.parametrize("path", ["/", "/tmp/", "/tmp/..", "x", "/tmp/\ud800"])
def test_what_names_no_file_is_refused(quarantine: Quarantine, path: str) -> None:
    """It may come from an attacker."""
    with pytest.raises(ActionRefused, match="is no path of a file"):
        quarantine.do(of(path))


def test_what_the_host_needs_is_refused(quarantine: Quarantine) -> None:
    """By whatever path, without a link or a detour that hides it."""
    for path in ("/boot/../boot/vmlinuz-none", f"{Path(files.__file__).parent}/../actions/files.py"):
        with pytest.raises((ActionRefused, TargetGone), match=r"Lanner itself needs|no longer exists"):
            quarantine.do(of(path))
    assert Path(files.__file__).exists()
