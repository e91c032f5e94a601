import os
import shutil
import subprocess
from pathlib import Path

import pytest

from collector.procfs.installed_packages import InstalledPackage, distribution, installed, is_all_mapped, responder
from tests.unit.collector.procfs.test_packages import dpkg, rpm, write

DPKG = """Package: libssl3
Status: install ok installed
Architecture: amd64
Multi-Arch: same
Source: openssl (3.0.11-0)
Version: 3.0.11-1
Description: x
 Package: not-this

Package: gone
Status: deinstall ok config-files
Architecture: all
Version: 1

Package: base
Architecture: all
Version: 12
"""

LIBRARY = Path("/bin/true").resolve()
MODULE = b"\x7fELF" + b"\0" * 12 + (1).to_bytes(2, "little") + b"\0" * 46


def read(root: Path) -> list[InstalledPackage]:
    """Return the packages of a root directory."""
    location = os.open(root, os.O_PATH)
    try:
        return installed(location)
    finally:
        os.close(location)


def test_packages_of_dpkg_have_the_source_that_they_were_built_from(tmp_path: Path) -> None:
    """One of which only settings are left isn't installed, and images without dpkg state no status."""
    write(tmp_path, {"var/lib/dpkg/status": DPKG, "var/lib/dpkg/status.d/x": "Package: x\nVersion: 2\n"})
    assert read(tmp_path) == [
        InstalledPackage("dpkg", "libssl3", "3.0.11-1", "amd64", "openssl", "3.0.11-0"),
        InstalledPackage("dpkg", "base", "12", "all", "base", "12"),
        InstalledPackage("dpkg", "x", "2", "", "x", "2"),
    ]


def test_packages_of_apk_end_where_their_files_begin(tmp_path: Path) -> None:
    """A file or its rights can't name another package."""
    text = "C:Q1x\nP:libcrypto3\nV:3.1.4-r5\nA:x86_64\no:openssl\nF:lib\nR:libcrypto.so.3\nP:forged\n\nP:musl\nV:1.2\n"
    write(tmp_path, {"lib/apk/db/installed": text})
    assert read(tmp_path) == [
        InstalledPackage("apk", "libcrypto3", "3.1.4-r5", "x86_64", "openssl", "3.1.4-r5"),
        InstalledPackage("apk", "musl", "1.2", "", "musl", "1.2"),
    ]


def test_packages_of_rpm_have_epoch_and_source(tmp_path: Path) -> None:
    """As its headers state them."""
    rpm(tmp_path)
    assert read(tmp_path) == [InstalledPackage("rpm", "coreutils", "1:9.3-4.fc39", "x86_64", "coreutils", "9.3-4.fc39")]


def test_a_damaged_database_lists_what_can_be_read(tmp_path: Path) -> None:
    """Neither garbage nor a database of something else raises."""
    write(tmp_path, {"var/lib/dpkg/status": b"\xff\n\nPackage: \xff\nVersion:\n", "lib/apk/db/installed": b"P\n\nF:\n"})
    write(tmp_path, {"var/lib/rpm/rpmdb.sqlite": b"SQLite format 3\0" + b"\xff" * 4096})
    assert [each.name for each in read(tmp_path)] == ["\ufffd"]


@pytest.mark.parametrize("text", ['ID=alpine\nVERSION_ID="3.19.1"\n', "VERSION_ID='3.19.1'\nID=alpine\nID=$(x)\n"])
def test_the_distribution_is_that_of_os_release(tmp_path: Path, text: str) -> None:
    """With or without quotes, and never what a shell would make of it."""
    write(tmp_path, {"etc/os-release": text})
    location = os.open(tmp_path, os.O_PATH)
    assert distribution(location) == ("alpine", "3.19.1")
    os.close(location)


def test_owners_are_those_that_dpkg_states(tmp_path: Path) -> None:
    """Each by its name with architecture where several may be installed."""
    own = [str(each.resolve()) for each in (Path("/bin/env"), *Path("/lib").glob("*-linux-gnu/libc.so.6"))]
    found = responder("/proc", "/")({"pid": 0, "paths": [*own, "/no/such"]})
    for path in own:
        # Its lists may have the path from before /lib was merged into /usr/lib.
        either = ["dpkg", "-S", path, path.removeprefix("/usr")]
        oracle = subprocess.run(either, capture_output=True, text=True, check=False).stdout
        assert found["owners"][path] == ("dpkg", oracle.partition(": ")[0])
    names = {each["name"] for each in found["installed"]}
    query = ["dpkg-query", "-W", "-f=${db:Status-Status} ${Package}\n"]
    rows = subprocess.run(query, capture_output=True, text=True, check=True).stdout.split("\n")
    assert names == {row.removeprefix("installed ") for row in rows if row.startswith("installed ")}
    dpkg(tmp_path, {"libc6:amd64": f"{'0' * 32}  lib/libc.so.6\n"})
    there = responder("/proc", str(tmp_path))({"pid": 0, "paths": ["/usr/lib/libc.so.6"]})
    assert there["owners"] == {"/usr/lib/libc.so.6": ("dpkg", "libc6:amd64")}


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
