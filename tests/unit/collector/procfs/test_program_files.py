import hashlib
import os
import subprocess
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from collector.procfs import program_files
from collector.procfs.foreign_files import cached_stat
from collector.procfs.program_files import ProgramFiles, ProgramQuery
from tests.unit.collector.procfs.test_packages import CONTENT, MD5, SHA256, dpkg, write

NOBODY = 1 << 22
"""A pid that no process has."""


def query(file: Path, path: str, **facts: Any) -> ProgramQuery:
    """Return a query about a file as if it had run as a program of the host, and ended, with a path."""
    found = cached_stat(str(file))
    device = os.major(found.device) << 20 | os.minor(found.device)
    given = ProgramQuery(
        (NOBODY,), path, device, found.inode, found.ctime, found.mtime, *(False,) * 3, True, *(False,) * 2
    )
    return replace(given, **facts)


def look(root: Path, path: str, **facts: Any) -> dict[str, Any]:
    """Return the response about a file of a host with this root directory."""
    return ProgramFiles(Path("/proc"), root).look(query(root / path[1:], path, **facts))


def test_what_a_package_lists_is_its_own_until_somebody_changes_it(tmp_path: Path) -> None:
    """By the digest of its list; what none lists was dropped."""
    write(tmp_path, {"usr/bin/ls": CONTENT, "usr/bin/id": CONTENT + b"x", "usr/bin/x": CONTENT})
    dpkg(tmp_path, {"coreutils": f"{MD5}  bin/ls\n{MD5}  usr/bin/id\n"})
    found = look(tmp_path, "/usr/bin/ls")
    assert (found["origin"], found["sha256"], found["bytes"]) == ("package", SHA256, len(CONTENT))
    assert (found["package"], found["package_version"]) == ("coreutils", "9.1-1")
    changed = look(tmp_path, "/usr/bin/id")
    assert (changed["origin"], changed["package"]) == ("modified", "coreutils")
    assert changed["sha256"] == hashlib.sha256(CONTENT + b"x").hexdigest()
    assert look(tmp_path, "/usr/bin/x")["origin"] == "dropped"


def test_what_others_than_root_can_make_is_of_no_package(tmp_path: Path) -> None:
    """Even if the path is listed: a user could make it, or a link to it."""
    write(tmp_path, {"opt/ls": CONTENT})
    dpkg(tmp_path, {"coreutils": f"{MD5}  opt/ls\n"})
    (tmp_path / "opt").chmod(0o777)
    assert look(tmp_path, "/opt/ls")["origin"] == "dropped"


def test_another_file_at_the_listed_path_says_nothing(tmp_path: Path) -> None:
    """It is not the one that was executed, as in another mount namespace, or after a replacement."""
    write(tmp_path, {"usr/bin/ls": CONTENT, "evil": CONTENT})
    dpkg(tmp_path, {"coreutils": f"{MD5}  usr/bin/ls\n"})
    found = ProgramFiles(Path("/proc"), tmp_path).look(query(tmp_path / "evil", "/usr/bin/ls"))
    assert (found["origin"], found["bytes"]) == ("unknown", 0)


def test_without_a_database_nothing_is_known_but_the_digest(tmp_path: Path) -> None:
    """As on a host of another distribution."""
    write(tmp_path, {"usr/bin/ls": CONTENT})
    found = look(tmp_path, "/usr/bin/ls")
    assert (found["origin"], found["sha256"]) == ("unknown", SHA256)


def test_only_a_lower_layer_makes_a_program_of_an_image(tmp_path: Path) -> None:
    """Whoever writes to the upper layer can write to the database as well; a container made by anyone has neither."""
    write(tmp_path, {"usr/bin/ls": CONTENT})
    inside = {"is_host": False, "is_contained": True}
    assert look(tmp_path, "/usr/bin/ls", **inside, is_lower_layer=True)["origin"] == "image"
    assert look(tmp_path, "/usr/bin/ls", **inside, is_upper_layer=True)["origin"] == "dropped"
    assert look(tmp_path, "/usr/bin/ls", **inside)["origin"] == "unknown"
    assert look(tmp_path, "/usr/bin/ls", is_host=False, is_lower_layer=True)["origin"] == "unknown"
    gone = query(tmp_path / "usr/bin/ls", "/usr/bin/gone", **inside, is_upper_layer=True)
    assert ProgramFiles(Path("/proc"), tmp_path).look(gone)["origin"] == "dropped"


def test_a_file_on_a_file_system_that_another_program_serves_is_not_read(tmp_path: Path) -> None:
    """Such as FUSE: it may never respond, and shows each reader what it likes."""
    write(tmp_path, {"usr/bin/ls": CONTENT, f"proc/{NOBODY}/root": "", "proc/1/mountinfo": ""})
    device = cached_stat(str(tmp_path)).device
    table = f"1 1 {os.major(device)}:{os.minor(device)} / / rw - fuse.sshfs x rw\n"
    write(tmp_path, {"proc/1/mountinfo": table})
    found = ProgramFiles(tmp_path / "proc", tmp_path).look(query(tmp_path / "usr/bin/ls", "/usr/bin/ls"))
    assert (found["origin"], found["bytes"]) == ("unknown", 0)


def test_a_file_that_is_too_large_or_changes_has_no_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that changes is found by its times, which the kernel described when it started; a sparse one isn't read."""
    write(tmp_path, {"usr/bin/ls": CONTENT})
    before = query(tmp_path / "usr/bin/ls", "/usr/bin/ls")
    with (tmp_path / "usr/bin/ls").open("ab") as file:
        file.truncate(program_files.MAX_SIZE + 1)
    files = ProgramFiles(Path("/proc"), tmp_path)
    assert files.look(before)["bytes"] == files.look(query(tmp_path / "usr/bin/ls", "/usr/bin/ls"))["bytes"] == 0
    write(tmp_path, {"usr/bin/ls": CONTENT})
    read = program_files._digests
    changes = iter([b"x"])

    def digests(location: int, algorithms: set[str]) -> tuple[dict[str, str], int]:
        found = read(location, algorithms)
        (tmp_path / "usr/bin/ls").write_bytes(next(changes))
        return found

    monkeypatch.setattr(program_files, "_digests", digests)
    assert "sha256" not in look(tmp_path, "/usr/bin/ls")


def test_packages_of_this_machine_have_brought_their_programs() -> None:
    """As debsums has it, which compares the same lists; a query goes through JSON to the look-up server."""
    listed = subprocess.run(
        ["/usr/bin/dpkg", "-L", "coreutils", "dash", "dpkg"], capture_output=True, text=True, check=True
    ).stdout.split("\n")
    files = ProgramFiles(Path("/proc"), Path("/"))
    origins = {}
    for path in {str(Path(each).resolve()) for each in listed if each.startswith(("/bin/", "/usr/bin/", "/usr/sbin/"))}:
        assert asdict(query(Path(path), path))["pids"] == (NOBODY,)
        origins[path] = files.look(query(Path(path), path))["origin"]
    assert len(origins) > 90
    assert set(origins.values()) == {"package"}, origins
