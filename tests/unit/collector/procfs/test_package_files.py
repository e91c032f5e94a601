import os
import shutil
from pathlib import Path

import pytest

from collector.procfs.package_files import is_all_mapped
from tests.unit.collector.procfs.test_packages import rpm, write

LIBRARY = Path("/bin/true").resolve()
MODULE = b"\x7fELF" + b"\0" * 12 + (1).to_bytes(2, "little") + b"\0" * 46


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a root directory with files of several kinds in usr/bin."""
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "bin").symlink_to("usr/bin")
    shutil.copy(LIBRARY, tmp_path / "usr/bin/ls")
    (tmp_path / "usr/bin/link").symlink_to("script")
    write(tmp_path, {"usr/bin/script": "#!/bin/sh\n", "usr/bin/module": MODULE, "usr/share/doc/copyright": "text"})
    write(tmp_path, {"usr/lib/module.py": "pass\n", "usr/share/short": b"\x7fELF"})
    os.mkfifo(tmp_path / "usr/share/fifo")
    return tmp_path


@pytest.mark.parametrize(
    ("paths", "is_only_mapped"),
    [
        ("/.\n/usr\n/bin/ls\n/usr/share/doc/copyright\n/usr/bin/link\n/usr/share/fifo\n/../../no/such\n", True),
        ("/usr/bin/ls\n/usr/bin/script\n", False),
        ("/usr/bin/ls\n/usr/lib/module.py\n", False),
        ("/usr/bin/ls\n/usr/bin/module\n", False),
        ("/usr/share/doc/copyright\n/usr/share/short\n", False),
        ("/usr/bin/ls\n" * 30_000, False),
    ],
    ids=["programs", "script", "python", "kernel module", "no code", "too many"],
)
def test_code_is_mapped_or_interpreted(root: Path, paths: str, is_only_mapped: bool) -> None:
    """Links, data, FIFOs and files that are gone don't matter; a package without code isn't all mapped."""
    write(root, {"var/lib/dpkg/info/a:amd64.list": paths})
    location = os.open(root, os.O_PATH)
    assert is_all_mapped(location, "dpkg", "a:amd64") is is_only_mapped
    assert not is_all_mapped(location, "dpkg", "../a:amd64")
    os.close(location)


def test_files_of_apk_and_rpm_are_found(root: Path) -> None:
    """By folder and name."""
    text = "P:x\nF:usr/bin\nR:script\n\nP:busybox\nF:usr/share/doc\nR:copyright\nF:usr/bin\nR:ls\n\nP:y\nR:z\n"
    write(root, {"lib/apk/db/installed": text})
    rpm(root)
    location = os.open(root, os.O_PATH)
    names = ("busybox", "x", "y", "usybox")
    assert [is_all_mapped(location, "apk", name) for name in names] == [True, False, False, False]
    assert is_all_mapped(location, "rpm", "coreutils")
    assert not is_all_mapped(location, "rpm", "other")
    os.close(location)
