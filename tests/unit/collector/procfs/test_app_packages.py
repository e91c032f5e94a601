import os
from pathlib import Path
from typing import Any

from collector.procfs.foreign_files import cached_stat
from collector.procfs.program_files import ProgramFiles
from tests.unit.collector.procfs.test_packages import CONTENT, SHA256, dpkg, write
from tests.unit.collector.procfs.test_program_files import NOBODY, query

COMMIT = "0123456789abcdef" * 4


def look(tmp_path: Path, file: str, path: str, *mounts: str, own: str = "", **facts: Any) -> dict[str, Any]:
    """Return what a file of a host is that ran by a path; mounts: point, root and type, of the file's device."""
    device = cached_stat(str(tmp_path)).device
    number = f"{os.major(device)}:{os.minor(device)}"
    dpkg(tmp_path, {"a": ""})
    for pid, lines in (("1", mounts), (str(NOBODY - 1), own.splitlines())):
        entries = (line.split() for line in ("/ / ext4", *lines))
        text = "".join(f"1 1 {number} {root} {point} ro - {kind} x ro\n" for point, root, kind in entries)
        write(tmp_path, {f"proc/{pid}/mountinfo": text})
    asked = query(tmp_path / file, path, pids=(NOBODY - 1,), **facts)
    root = tmp_path / "proc" / str(NOBODY - 1)
    (root / "exe").symlink_to(tmp_path / file)
    return ProgramFiles(tmp_path / "proc", tmp_path).look(asked)


def test_a_program_of_a_snap_is_of_that_package(tmp_path: Path) -> None:
    """Also by another path, as in the root directory that its base snap is for other snaps."""
    write(tmp_path, {"snap/core22/1033/bin/sh": CONTENT, "snap/core22/1033/meta/snap.yaml": "name: a\nversion: '22'\n"})
    found = look(tmp_path, "snap/core22/1033/bin/sh", "/bin/sh", "/snap/core22/1033 / squashfs")
    assert (found["origin"], found["package"], found["package_version"]) == ("package", "core22", "22")
    assert found["sha256"] == SHA256


def test_a_snap_that_is_no_mounted_image_is_none(tmp_path: Path) -> None:
    """A directory of that name, and a file system that can be written, can contain anything."""
    write(tmp_path, {"snap/core22/1033/bin/sh": CONTENT})
    assert look(tmp_path, "snap/core22/1033/bin/sh", "/snap/core22/1033/bin/sh")["origin"] == "dropped"


def test_a_snap_in_a_directory_of_others_is_none(tmp_path: Path) -> None:
    """Without a version of its own, a snap has its revision."""
    write(tmp_path, {"snap/core22/x1/bin/sh": CONTENT})
    (tmp_path / "snap").chmod(0o777)
    found = look(tmp_path, "snap/core22/x1/bin/sh", "/bin/sh", "/snap/core22/x1 / squashfs")
    assert found["origin"] == "dropped"


def test_a_program_of_flatpak_is_of_that_package(tmp_path: Path) -> None:
    """Its sandbox shows the deployed files as /app, and only those that are the host's own count."""
    app = f"/var/lib/flatpak/app/org.gnome.Maps/x86_64/stable/{COMMIT}/files"
    write(tmp_path, {f"{app[1:]}/bin/maps": CONTENT, "other": CONTENT})
    sandbox = f"/app {app} ext4"
    found = look(tmp_path, f"{app[1:]}/bin/maps", "/app/bin/maps", own=sandbox, is_host=False)
    assert (found["origin"], found["package"], found["package_version"]) == ("package", "org.gnome.Maps", "stable")


def test_a_file_that_users_can_write_is_of_no_flatpak(tmp_path: Path) -> None:
    """Neither is another file that a sandbox of anybody's shows at such a path."""
    app = f"/var/lib/flatpak/app/org.gnome.Maps/x86_64/stable/{COMMIT}/files"
    write(tmp_path, {f"{app[1:]}/bin/maps": CONTENT, "other": CONTENT})
    (tmp_path / app[1:] / "bin/maps").chmod(0o666)
    assert look(tmp_path, f"{app[1:]}/bin/maps", f"{app}/bin/maps")["origin"] == "dropped"
    (tmp_path / f"proc/{NOBODY - 1}/exe").unlink()
    assert look(tmp_path, "other", "/app/bin/maps", own=f"/app {app} ext4")["origin"] == "dropped"
