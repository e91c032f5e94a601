import base64
import hashlib
import os
import sqlite3
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from collector.procfs.packages import ListedFile, Packages, are_changing, exist

CONTENT = b"#!/bin/sh\nexit 0\n"
MD5, SHA1, SHA256 = (hashlib.new(name, CONTENT).hexdigest() for name in ("md5", "sha1", "sha256"))


def write(root: Path, files: Mapping[str, str | bytes]) -> None:
    """Write files below a root directory."""
    for path, content in files.items():
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content if isinstance(content, bytes) else content.encode())


def dpkg(root: Path, sums: Mapping[str, str], version: str = "9.1-1") -> None:
    """Write the database of a root directory with packages, each by its name with the text of its list."""
    stanzas = (
        f"Package: {name.partition(':')[0]}\nStatus: install ok installed\nVersion: {version}\n" for name in sums
    )
    write(root, {"var/lib/dpkg/status": "\n".join(stanzas) + "\n"})
    write(root, {f"var/lib/dpkg/info/{name}.md5sums": text for name, text in sums.items()})


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    """Yield the root directory, open."""
    location = os.open(tmp_path, os.O_PATH)
    yield location
    os.close(location)


def test_a_file_is_found_by_either_name_of_a_merged_directory(tmp_path: Path, root: int) -> None:
    """Debian's lists have /bin/ls, or /usr/bin/ls; the kernel knows the latter only."""
    dpkg(tmp_path, {"coreutils": f"{MD5}  bin/ls\n{'0' * 32}  usr/bin/lsx\n", "libc6:amd64": f"{MD5}  lib/ld.so\n"})
    packages = Packages()
    assert packages.find(root, "/usr/bin/ls") == ListedFile("coreutils", "9.1-1", "md5", MD5, "deb")
    assert packages.find(root, "/usr/lib/ld.so") == ListedFile("libc6", "9.1-1", "md5", MD5, "deb")
    assert packages.find(root, "/usr/local/bin/ls") is packages.find(root, "/usr/bin/l") is None


def test_a_list_that_changes_counts_at_once(tmp_path: Path, root: int) -> None:
    """The index is made again when dpkg has renamed a list, and a digest is never taken from it."""
    packages = Packages()
    dpkg(tmp_path, {"a": f"{'1' * 32}  usr/bin/a\n"})
    assert packages.find(root, "/usr/bin/b") is None
    dpkg(tmp_path, {"a": f"{MD5}  usr/bin/a\n", "b": f"{MD5}  usr/bin/b\n"}, "2")
    assert packages.find(root, "/usr/bin/a") == ListedFile("a", "2", "md5", MD5, "deb")
    assert packages.find(root, "/usr/bin/b") == ListedFile("b", "2", "md5", MD5, "deb")


def test_a_diverted_file_is_listed_where_its_package_wanted_it(tmp_path: Path, root: int) -> None:
    """What took its place belongs to the package that diverted it."""
    dpkg(tmp_path, {"one": f"{'1' * 32}  bin/sh\n", "two": f"{MD5}  bin/sh\n"})
    write(tmp_path, {"var/lib/dpkg/diversions": "/bin/sh\n/bin/sh.distrib\ntwo\n"})
    assert Packages().find(root, "/bin/sh") == ListedFile("two", "9.1-1", "md5", MD5, "deb")
    assert Packages().find(root, "/bin/sh.distrib") == ListedFile("one", "9.1-1", "md5", "1" * 32, "deb")


def test_images_without_dpkg_have_a_file_for_each_package(tmp_path: Path, root: int) -> None:
    """As those of distroless."""
    folder = "var/lib/dpkg/status.d"
    write(tmp_path, {f"{folder}/base": "Package: base\nVersion: 12\n", f"{folder}/base.md5sums": f"{MD5}  bin/x\n"})
    assert Packages().find(root, "/bin/x") == ListedFile("base", "12", "md5", MD5, "deb")
    assert exist(root)


def test_a_file_of_apk_is_found_in_its_directory(tmp_path: Path, root: int) -> None:
    """The same name in another directory, or another package, is another file."""
    digest = base64.b64encode(bytes.fromhex(SHA1)).decode()
    text = "C:Q1x\nP:musl\nV:1.2\nF:bin\nR:other\nZ:Q1AAAA\n\nP:busybox\nV:1.36-r2\nF:etc\nR:busybox\nZ:Q1BBBB\n"
    text += f"F:bin\nM:0:0:755\nR:busybox\na:0:0:755\nZ:Q1{digest}\nF:lib\n\n"
    write(tmp_path, {"lib/apk/db/installed": text})
    assert Packages().find(root, "/bin/busybox") == ListedFile("busybox", "1.36-r2", "sha1", SHA1, "apk")
    assert Packages().find(root, "/bin/busy") is Packages().find(root, "/sbin/x") is None


def _header(tags: Mapping[int, tuple[int, int, bytes]]) -> bytes:
    index, data = b"", b""
    for tag, (kind, count, value) in tags.items():
        data += b"\0" * (-len(data) % 4)
        index += struct.pack(">IIiI", tag, kind, len(data), count)
        data += value
    return struct.pack(">II", len(tags), len(data)) + index + data


def rpm(root: Path) -> None:
    """Write rpm's database of a root directory with one package, which has a log as that of rpm has."""
    path = root / "usr/lib/sysimage/rpm/rpmdb.sqlite"
    path.parent.mkdir(parents=True)
    header = _header(
        {
            1000: (6, 1, b"coreutils\0"),
            1001: (6, 1, b"9.3\0"),
            1002: (6, 1, b"4.fc39\0"),
            1003: (4, 1, struct.pack(">I", 1)),
            1022: (6, 1, b"x86_64\0"),
            1035: (8, 2, f"{'0' * 64}\0{SHA256}\0".encode()),
            1044: (6, 1, b"coreutils-9.3-4.fc39.src.rpm\0"),
            1116: (4, 2, struct.pack(">II", 1, 0)),
            1117: (8, 2, b"ls\0ls\0"),
            1118: (8, 2, b"/usr/bin/\0/etc/\0"),
            5011: (4, 1, struct.pack(">I", 8)),
        }
    )
    database = sqlite3.connect(path)
    database.execute("PRAGMA journal_mode=wal")
    database.execute("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB NOT NULL)")
    database.execute("CREATE TABLE Basenames (key TEXT NOT NULL, hnum INTEGER NOT NULL, idx INTEGER NOT NULL)")
    database.execute("INSERT INTO Packages VALUES (7, ?)", (header,))
    database.executemany("INSERT INTO Basenames VALUES ('ls', 7, ?)", [(0,), (1,)])
    database.commit()
    database.close()


def test_a_file_of_rpm_is_found_by_its_package_s_header(tmp_path: Path, root: int) -> None:
    """Also if the database had a log, as that of rpm has."""
    rpm(tmp_path)
    assert Packages().find(root, "/usr/bin/ls") == ListedFile("coreutils", "1:9.3-4.fc39", "sha256", SHA256, "rpm")
    assert Packages().find(root, "/usr/sbin/ls") is None


def test_a_database_of_rpm_whose_query_never_ends_is_given_up(tmp_path: Path, root: int) -> None:
    """Who makes an image could otherwise keep a processor busy until the look-up is abandoned, again and again."""
    path = tmp_path / "var/lib/rpm/rpmdb.sqlite"
    path.parent.mkdir(parents=True)
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB NOT NULL)")
    rows = "WITH RECURSIVE r(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM r) SELECT x AS key, 7 AS hnum, x AS idx FROM r"
    database.execute(f"CREATE VIEW Basenames AS {rows}")
    database.execute("INSERT INTO Packages VALUES (7, '')")
    database.commit()
    database.close()
    assert Packages().find(root, "/usr/bin/ls") is None


@pytest.mark.parametrize(
    "files",
    [
        {"var/lib/dpkg/info/a.md5sums": b"\xff" * 100 + b"\n" * 1000, "var/lib/dpkg/diversions": b"\xff\n/usr/bin/ls"},
        {"lib/apk/db/installed": b"F:usr/bin\n" * 5000 + b"R:ls\nZ:Q1!!\n"},
        {"var/lib/rpm/rpmdb.sqlite": b"SQLite format 3\0" + b"\xff" * 4096},
        {"var/lib/rpm/rpmdb.sqlite": b"\0" * 8192},
    ],
)
def test_a_broken_database_lists_nothing(tmp_path: Path, root: int, files: Mapping[str, bytes]) -> None:
    """A container may contain anything."""
    write(tmp_path, files)
    assert Packages().find(root, "/usr/bin/ls") is None


def test_a_database_that_is_a_link_out_of_the_root_is_none(tmp_path: Path, root: int) -> None:
    """Those of the host must not answer for a container."""
    (tmp_path / "var/lib").mkdir(parents=True)
    (tmp_path / "var/lib/dpkg").symlink_to("/var/lib/dpkg")
    assert not exist(root)
    assert Packages().find(root, "/usr/bin/dpkg") is None


@pytest.mark.parametrize(("path", "call"), [("var/lib/dpkg/lock", "lockf"), ("lib/apk/db/lock", "flock")])
def test_a_locked_database_is_changing(tmp_path: Path, root: int, path: str, call: str) -> None:
    """As while dpkg or apk unpacks: another process holds the lock, each in its way."""
    write(tmp_path, {path: ""})
    assert not are_changing(root)
    lock = f"import fcntl, sys; f = open(sys.argv[1], 'r+'); fcntl.{call}(f, 2); print(flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", lock, str(tmp_path / path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        holder.stdout.readline()
        assert are_changing(root)
        holder.stdin.close()
