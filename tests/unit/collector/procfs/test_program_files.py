import gzip
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from collector.procfs import program_files
from collector.procfs.foreign_files import cached_stat
from collector.procfs.look_ups import LookUps
from collector.procfs.program_files import ProgramFiles, ProgramQuery
from tests.live.needs import lacking
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


def test_a_root_directory_on_the_host_has_packages_of_its_own(tmp_path: Path) -> None:
    """As one for chroot: by its own database, nearest first, unless others than root can change that."""
    write(tmp_path, {"srv/x/usr/bin/ls": CONTENT, "srv/x/usr/bin/id": CONTENT + b"x", "srv/x/usr/bin/y": CONTENT})
    dpkg(tmp_path, {"host": f"{MD5}  usr/bin/host\n"})
    dpkg(tmp_path / "srv/x", {"coreutils": f"{MD5}  bin/ls\n{MD5}  usr/bin/id\n"}, "8.0")
    found = [look(tmp_path, f"/srv/x/usr/bin/{name}") for name in ("ls", "id", "y")]
    assert [each["origin"] for each in found] == ["package", "modified", "dropped"]
    assert (found[0]["package"], found[0]["package_version"]) == ("coreutils", "8.0")
    # A script's path is the one that its process has.
    (tmp_path / f"proc/{NOBODY}").mkdir(parents=True)
    (tmp_path / f"proc/{NOBODY}/root").symlink_to("/srv/x")
    (tmp_path / "proc/1").mkdir()
    (tmp_path / "proc/1/mountinfo").write_text(Path("/proc/self/mountinfo").read_text())
    script = query(tmp_path / "srv/x/usr/bin/ls", "/usr/bin/ls", is_script=True)
    files = ProgramFiles(tmp_path / "proc", tmp_path)
    assert [*files._host_paths(script)] == ["/usr/bin/ls", "/srv/x/usr/bin/ls"]
    for changed in ("srv/x/var/lib/dpkg/status", "srv/x/var/lib/dpkg/info", "srv/x"):
        mode = (tmp_path / changed).stat().st_mode
        (tmp_path / changed).chmod(0o777)
        assert look(tmp_path, "/srv/x/usr/bin/ls")["origin"] == "dropped"
        (tmp_path / changed).chmod(mode)
    assert look(tmp_path, "/srv/x/usr/bin/ls")["origin"] == "package"


def test_a_runtime_without_a_place_is_that_of_its_package(tmp_path: Path) -> None:
    """It started again from a detached mount of its own file; a copy is another file, and Debian has a link to runc."""
    write(tmp_path, {"usr/sbin/runc": CONTENT, "tmp/runc": CONTENT})
    (tmp_path / "usr/bin").mkdir()
    (tmp_path / "usr/bin/runc").symlink_to("../sbin/runc")
    dpkg(tmp_path, {"runc": f"{MD5}  usr/sbin/runc\n"})
    files = ProgramFiles(Path("/proc"), tmp_path)

    own, copy = (files.look(query(tmp_path / path, "/")) for path in ("usr/sbin/runc", "tmp/runc"))

    assert (own["origin"], own["package"]) == ("package", "runc")
    assert copy["origin"] == "unknown"


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
        file.truncate(1 << 40)
    files = ProgramFiles(Path("/proc"), tmp_path)
    assert files.look(before)["bytes"] == files.look(query(tmp_path / "usr/bin/ls", "/usr/bin/ls"))["bytes"] == 0
    assert files.look(query(tmp_path / "usr/bin/ls", "/usr/bin/ls"))["origin"] == "unknown"
    write(tmp_path, {"usr/bin/ls": CONTENT})
    read = program_files._digests
    changes = iter([b"x"])

    def digests(location: int, algorithms: set[str]) -> tuple[dict[str, str], int]:
        found = read(location, algorithms)
        (tmp_path / "usr/bin/ls").write_bytes(next(changes))
        return found

    monkeypatch.setattr(program_files, "_digests", digests)
    assert "sha256" not in look(tmp_path, "/usr/bin/ls")


def test_a_script_of_a_container_is_in_the_layer_that_has_its_file(tmp_path: Path) -> None:
    """By the directory of the upper layer; only the runtime's own overlay counts, which the host sees as well."""
    write(tmp_path, {"usr/bin/x": CONTENT, "usr/bin/y": CONTENT, "upper/usr/bin/y": CONTENT, "proc/1/mountinfo": ""})
    device = cached_stat(str(tmp_path)).device
    number = f"{os.major(device)}:{os.minor(device)}"
    (tmp_path / f"proc/{NOBODY}").mkdir()
    (tmp_path / f"proc/{NOBODY}/root").symlink_to(tmp_path)
    inside = f"1 1 {number} / / rw - overlay x rw\n"
    outside = f"1 1 7:7 / / rw - ext4 x rw\n1 1 {number} / /merged rw - overlay x rw,lowerdir=/l,upperdir=/upper\n"
    for host, expected in ((outside, ("image", "dropped")), (outside.replace("/upper", "u"), ("unknown", "unknown"))):
        write(tmp_path, {f"proc/{NOBODY}/mountinfo": inside, "proc/1/mountinfo": host})
        files = ProgramFiles(tmp_path / "proc", tmp_path)
        facts = {"is_host": False, "is_contained": True, "is_script": True}
        found = [files.look(query(tmp_path / path[1:], path, **facts)) for path in ("/usr/bin/x", "/usr/bin/y")]
        assert tuple(each["origin"] for each in found) == expected


_IN_ROOT = "import os, sys; os.chroot(sys.argv[1]); print(flush=True); sys.stdin.read()"


@pytest.mark.skipif("CI" not in os.environ and os.geteuid() != 0, reason="needs root")
def test_files_of_a_real_overlay_are_what_their_layer_is(tmp_path: Path) -> None:
    """Programs and scripts of the image, made in the container, and of the image's packages."""
    lower, upper, merged = (tmp_path / name for name in ("lower", "upper", "merged"))
    for folder in (upper, tmp_path / "work", merged):
        folder.mkdir()
    write(lower, {"usr/bin/image": CONTENT, "usr/bin/listed": CONTENT})
    dpkg(lower, {"one": f"{MD5}  usr/bin/listed\n"})
    layers = f"lowerdir={lower},upperdir={upper},workdir={tmp_path}/work"
    mounted = subprocess.run(["/usr/bin/mount", "-t", "overlay", "x", "-o", layers, merged], check=False)
    if mounted.returncode:
        lacking("no overlay can be mounted here")
    try:
        write(merged, {"usr/bin/made": CONTENT})
        files = ProgramFiles(Path("/proc"), Path("/"))
        with running(sys.executable, "-c", _IN_ROOT, str(merged)) as process:
            assert process.stdout is not None
            process.stdout.readline()
            facts = {"pids": (process.pid, process.pid), "is_host": False, "is_contained": True}

            def look_inside(name: str, **others: Any) -> str:
                asked = query(merged / "usr/bin" / name, f"/usr/bin/{name}", **facts, **others)
                return str(files.look(asked)["origin"])

            assert [look_inside(name, is_script=True) for name in ("image", "listed", "made")] == [
                *("image", "package", "dropped")
            ]
            assert look_inside("listed", is_lower_layer=True) == "package"
            assert look_inside("made", is_upper_layer=True) == "dropped"
            # One that started before is in the layer that has it, unless it was replaced since then.
            assert [look_inside(name, is_running=True) for name in ("image", "listed", "made")] == [
                *("image", "package", "dropped")
            ]
            deleted = query(merged / "usr/bin/made", "/usr/bin/made (deleted)", **facts, is_running=True)
            assert files.look(deleted)["origin"] == "unknown"
            (merged / "usr/bin/listed").write_bytes(b"other")
            assert look_inside("listed", is_script=True) == "dropped"
    finally:
        subprocess.run(["/usr/bin/umount", merged], check=True)


@contextmanager
def running(program: Path | str, *arguments: str, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Yield a process that runs a program until its input ends."""
    with subprocess.Popen([program, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options) as process:
        try:
            yield process
        finally:
            process.kill()


def asked(process: subprocess.Popen[bytes], path: str, **facts: Any) -> ProgramQuery:
    """Return a query about the program that a process runs."""
    return query(Path(f"/proc/{process.pid}/exe"), path, pids=(process.pid,), **facts)


def test_a_program_that_was_deleted_or_replaced_is_still_the_one_that_runs(tmp_path: Path) -> None:
    """While it runs; afterwards, nothing at its path is it."""
    cat, files = Path(shutil.copy("/usr/bin/cat", tmp_path)), ProgramFiles(Path("/proc"), Path("/"))
    digest = hashlib.sha256(cat.read_bytes()).hexdigest()
    with running(cat) as process:
        seen = asked(process, str(cat))
        assert files.look(seen)["sha256"] == digest
        cat.unlink()
        # The last change of an inode counts: its file has a link less.
        assert files.look(seen)["origin"] == "unknown"
        deleted = asked(process, f"{cat} (deleted)")
        assert files.look(deleted)["sha256"] == digest
        shutil.copy("/usr/bin/true", cat)
        assert files.look(asked(process, str(cat)))["sha256"] == digest
    for link in (False, True):
        if link:
            cat.unlink()
            cat.symlink_to("/usr/bin/cat")
        assert (found := files.look(deleted))["origin"] == "unknown"
        assert "sha256" not in found


def test_a_program_in_memory_has_a_digest_and_no_package() -> None:
    """Whatever it is called."""
    memory = os.memfd_create("cat", 0)
    os.write(memory, Path("/usr/bin/cat").read_bytes())
    with running(f"/proc/self/fd/{memory}", pass_fds=(memory,)) as process:
        found = ProgramFiles(Path("/proc"), Path("/")).look(asked(process, "/usr/bin/cat", is_from_memfd=True))
    os.close(memory)
    assert found["sha256"] == hashlib.sha256(Path("/usr/bin/cat").read_bytes()).hexdigest()
    assert (found["origin"], found.get("package")) == ("memory", None)


_NEVER_RESPONDS = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.unshare(0x20000)
libc.mount(None, b"/", None, 1 << 14 | 1 << 18, None)
fuse = os.open("/dev/fuse", os.O_RDWR)
options = f"fd={fuse},rootmode=40000,user_id=0,group_id=0".encode()
print(libc.mount(b"x", os.fsencode(sys.argv[1]), b"fuse", 0, options), flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(
    "CI" not in os.environ and (os.geteuid() != 0 or not Path("/dev/fuse").exists()), reason="needs root and /dev/fuse"
)
def test_a_path_below_a_file_system_that_hangs_is_not_looked_up(tmp_path: Path) -> None:
    """Whoever serves it could keep the look-ups of all others waiting."""
    (tmp_path / "m").mkdir()
    look_ups = LookUps(timeout=10.0)
    with running(sys.executable, "-c", _NEVER_RESPONDS, str(tmp_path / "m")) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"0\n"
        gone = query(Path("/usr/bin/true"), f"{tmp_path}/m/x", pids=(NOBODY, server.pid), ctime=7)
        found = look_ups.program(asdict(gone))
        look_ups.close()
    assert (found["origin"], found["bytes"], look_ups.given_up) == ("unknown", 0, 0)


def origins(root: Path, paths: Iterable[str]) -> dict[str, str]:
    """Return the origin of each file of a root directory by its path, all by one reader."""
    files = ProgramFiles(Path("/proc"), root)
    return {path: files.look(query(root / path[1:], path))["origin"] for path in paths}


def test_programs_of_this_machine_are_what_md5sum_says_of_the_lists_of_dpkg() -> None:
    """As debsums has it; a file that a package diverted is another's. Large ones are left out for the sake of time."""
    lists = b"".join(each.read_bytes() for each in Path("/var/lib/dpkg/info").glob("*.md5sums"))
    small = {
        os.fsdecode(line[34:]): line + b"\n"
        for line in lists.split(b"\n")
        if line[34:].startswith((b"usr/bin/", b"usr/sbin/", b"bin/", b"sbin/"))
        and (place := Path("/", os.fsdecode(line[34:]))).is_file()
        and not place.is_symlink()
        and place.stat().st_size < 60_000
    }
    diverted = subprocess.run(["/usr/bin/dpkg-divert", "--list"], capture_output=True, text=True, check=True).stdout
    checked = subprocess.run(
        ["/usr/bin/md5sum", "--check"], input=b"".join(small.values()), capture_output=True, cwd="/", check=False
    ).stdout.decode()
    expected = {
        f"/{name}": "package" if result == "OK" else "modified"
        for name, _, result in (line.rpartition(": ") for line in checked.splitlines())
        if f"/{name}" not in diverted
    }
    resolved = {str(Path(path).resolve()): origin for path, origin in expected.items()}
    assert len(resolved) > 90
    assert origins(Path("/"), resolved) == resolved


def test_changes_are_those_that_dpkg_itself_verifies(tmp_path: Path) -> None:
    """Unmodified, modified and unlisted files, after dpkg has installed a package in another root."""
    tree, root = tmp_path / "tree", tmp_path / "root"
    control = "Package: one\nVersion: 1:2-3\nArchitecture: all\nMaintainer: a <a@b.c>\nDescription: a\n"
    write(tree, {"usr/bin/same": CONTENT, "usr/bin/changed": CONTENT})
    write(tree, {"DEBIAN/control": control, "DEBIAN/md5sums": f"{MD5}  usr/bin/same\n{MD5}  usr/bin/changed\n"})
    (root / "var/lib/dpkg").mkdir(parents=True)
    dpkg_of = ("/usr/bin/dpkg", f"--root={root}", "--force-not-root", f"--log={tmp_path}/log")
    for command in (("/usr/bin/dpkg-deb", "--build", tree, tmp_path / "a.deb"), (*dpkg_of, "-i", tmp_path / "a.deb")):
        subprocess.run(command, check=True, capture_output=True)
    write(root, {"usr/bin/changed": CONTENT + b"x", "usr/bin/mine": CONTENT})
    verified = subprocess.run([*dpkg_of, "--verify", "one"], capture_output=True, text=True, check=False).stdout
    assert [line.split()[-1] for line in verified.splitlines()] == ["/usr/bin/changed"]
    found = origins(root, ("/usr/bin/same", "/usr/bin/changed", "/usr/bin/mine"))
    assert list(found.values()) == ["package", "modified", "dropped"]
    assert (
        ProgramFiles(Path("/proc"), root).look(query(root / "usr/bin/same", "/usr/bin/same"))["package_version"]
        == "1:2-3"
    )


def test_changes_are_those_that_rpm_itself_verifies(tmp_path: Path) -> None:
    """By a database that rpm 4.18 wrote when it installed a package with two files, same and changed, of CONTENT.

    After one of them got another line, `rpm -V` printed "S.5....T.    /usr/bin/changed" only, and no package had mine.
    """
    database = gzip.decompress((Path(__file__).parent / "rpmdb.sqlite.gz").read_bytes())
    write(tmp_path, {"var/lib/rpm/rpmdb.sqlite": database, "usr/bin/same": CONTENT})
    write(tmp_path, {"usr/bin/changed": CONTENT + b"x\n", "usr/bin/mine": CONTENT})
    found = origins(tmp_path, ("/usr/bin/same", "/usr/bin/changed", "/usr/bin/mine"))
    assert list(found.values()) == ["package", "modified", "dropped"]
    same = look(tmp_path, "/usr/bin/same")
    assert (same["package"], same["package_version"]) == ("one", "1:2-3")


APK_DATABASE = """\
C:Q1vCM+H9J7tuQaeDF3nwM5EBTPhUE=
P:one
V:1.2.3-r4
A:x86_64
S:321
I:51
T:t
U:
L:MIT
o:one-src
f:S
F:bin
R:two
a:0:0:755
Z:Q1MGxsp0B1YDQHl4ZuB34FNietQJI=
F:usr
F:usr/bin
R:changed
a:0:0:755
Z:Q1MGxsp0B1YDQHl4ZuB34FNietQJI=
R:same
a:0:0:755
Z:Q1MGxsp0B1YDQHl4ZuB34FNietQJI=

C:Q1J2+8E2CSHYdoo4hQIe8TAfTVXPM=
P:other
V:5-r0
A:x86_64
S:546
I:35
T:test
U:x
L:MIT
o:other-src
t:1700000000
F:usr
F:usr/bin
R:other
a:0:0:755
Z:Q1UEUZyEK3ICJQMV71YgaeTOENqZw=
F:usr/sbin
R:same
a:0:0:755
Z:Q1OJkmlzRnRrpjGphJzEO3Vt3gcBk=

"""


def test_a_file_that_no_package_lists_was_dropped_however_large_it_is(tmp_path: Path) -> None:
    """A sparse one is made at once; what a package lists may be the package's."""
    dpkg(tmp_path, {"coreutils": f"{MD5}  usr/bin/ls\n"})
    for name in ("ls", "mine"):
        write(tmp_path, {f"usr/bin/{name}": CONTENT})
        os.truncate(tmp_path / "usr/bin" / name, program_files.MAX_SIZE + 1)
    mine, listed = look(tmp_path, "/usr/bin/mine"), look(tmp_path, "/usr/bin/ls")
    assert (mine["origin"], mine["bytes"], "sha256" in mine) == ("dropped", 0, False)
    assert (listed["origin"], listed["package"], listed["bytes"]) == ("unknown", "coreutils", 0)


def test_changes_are_those_that_apk_itself_audits(tmp_path: Path) -> None:
    """By a database that apk 3.0 wrote when it installed a package of its own format, and one of apk 2.

    All files were CONTENT, but usr/sbin/same. After one of them got another line, `apk audit --system` printed
    "U usr/bin/changed" only, and `apk info --who-owns` found no package of mine.
    """
    write(tmp_path, {"lib/apk/db/installed": APK_DATABASE, "usr/sbin/same": CONTENT + b"x"})
    write(tmp_path, dict.fromkeys(("usr/bin/same", "usr/bin/other", "usr/bin/mine", "bin/two"), CONTENT))
    write(tmp_path, {"usr/bin/changed": CONTENT + b"x\n"})
    listed = ("/usr/bin/same", "/bin/two", "/usr/bin/other", "/usr/sbin/same")
    found = origins(tmp_path, (*listed, "/usr/bin/changed", "/usr/bin/mine"))
    assert list(found.values()) == [*["package"] * 4, "modified", "dropped"]
    same = look(tmp_path, "/usr/bin/same")
    assert (same["package"], same["package_version"]) == ("one", "1.2.3-r4")
