"""Every fact of a file event equals the file system's, however the name was built."""

import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.collector.watching import Watching, watching
from tests.live.compiled import Programs

EVENTS = (
    *("open", "openat", "openat2", "creat", "unlink", "unlinkat", "rename", "renameat", "renameat2", "link", "linkat"),
    *("symlink", "symlinkat", "mkdir", "mkdirat", "rmdir", "chmod", "fchmod", "fchmodat", "chown", "mknodat"),
)


@pytest.fixture(scope="module")
def watch() -> Iterator[Watching]:
    """Watch file events."""
    with watching(*EVENTS) as running:
        yield running


def opened(watch: Watching, code: str, *arguments: str, cwd: Path) -> int:
    """Run code in a folder; return the pid."""
    pid = watch.python(f"import os,sys,json\n{code}\nprint(json.dumps(os.getpid()))", *arguments, cwd=cwd)
    assert isinstance(pid, int)
    return pid


def test_an_absolute_open_reports_name_number_device_and_flags(watch: Watching, tmp_path: Path) -> None:
    """The plain case."""
    path = tmp_path / "plain"
    path.write_text("x")
    pid = opened(watch, "os.open(sys.argv[1], os.O_RDWR | os.O_APPEND)", str(path), cwd=tmp_path)

    event = watch.one(proc__pid=pid, fd__name=str(path))

    facts = path.stat()
    assert event["fd.num"] == event["evt.rawres"] == 3
    assert (event["fd.type"], event["fd.typechar"]) == ("file", "f")
    assert (event["fd.directory"], event["fd.filename"]) == (str(tmp_path), "plain")
    assert event["fd.nameraw"] == event["fd.realpath"] == str(path)
    assert (event["fd.ino"], event["fd.dev"]) == (facts.st_ino, facts.st_dev)
    assert event["fd.dev.major"] == os.major(facts.st_dev)
    assert event["evt.arg.flags"] == "O_APPEND|O_RDWR|O_CLOEXEC"
    assert (event["evt.is_open_read"], event["evt.is_open_write"]) == (True, True)
    assert event["evt.res"] == "SUCCESS"
    assert event["evt.failed"] is False


def test_a_relative_name_is_joined_with_the_folder_of_the_call(watch: Watching, tmp_path: Path) -> None:
    """Working directory and directory descriptors both complete a name; the raw one stays."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "file").write_text("x")
    code = (
        "os.open('folder/../folder/./file', os.O_RDONLY)\n"
        "os.open('file', os.O_RDONLY, dir_fd=os.open('folder', os.O_RDONLY))"
    )
    pid = opened(watch, code, cwd=tmp_path)

    first, second = watch.events(proc__pid=pid, fd__name=str(folder / "file"))

    assert first["fd.nameraw"] == "folder/../folder/./file"
    assert second["fd.nameraw"] == "file"
    assert second["fd.realpath"] == str(folder / "file")


def test_a_symlink_keeps_both_names(watch: Watching, tmp_path: Path) -> None:
    """The requested name and the kernel's name differ."""
    (tmp_path / "target").write_text("x")
    (tmp_path / "link").symlink_to("target")
    pid = opened(watch, "os.open('link', os.O_RDONLY)", cwd=tmp_path)

    event = watch.one(proc__pid=pid, fd__name=str(tmp_path / "link"))

    assert event["fd.realpath"] == str(tmp_path / "target")


def test_a_failed_open_has_name_and_error_and_no_descriptor(watch: Watching, tmp_path: Path) -> None:
    """Refused calls are reported too."""
    code = "\ntry: os.open('nothing', os.O_RDONLY)\nexcept OSError: pass"
    pid = opened(watch, code, cwd=tmp_path)

    event = watch.one(proc__pid=pid, fd__name=str(tmp_path / "nothing"))

    assert event["fd.num"] is None
    assert (event["evt.res"], event["evt.rawres"], event["evt.failed"]) == ("ENOENT", -2, True)


def test_a_created_file_is_distinguished_from_an_opened_one(watch: Watching, tmp_path: Path) -> None:
    """O_CREAT on an existing file creates nothing."""
    pid = opened(watch, "for _ in 1, 2: os.close(os.open('new', os.O_CREAT | os.O_WRONLY, 0o755))", cwd=tmp_path)

    first, second = watch.events(proc__pid=pid, fd__name=str(tmp_path / "new"), evt__type="openat")

    assert (first["evt.is_open_create"], second["evt.is_open_create"]) == (True, False)
    assert first["evt.is_open_exec"] is True
    assert first["evt.arg.mode"] == "0755"


def test_two_path_calls_report_both(watch: Watching, tmp_path: Path) -> None:
    """Rename, link and symlink have source and target."""
    (tmp_path / "a").write_text("x")
    pid = opened(watch, "os.rename('a','b'); os.link('b','c'); os.symlink('b','d')", cwd=tmp_path)

    rename = watch.one(proc__pid=pid, evt__type="rename")
    assert (rename["evt.arg.oldpath"], rename["evt.arg.newpath"]) == (str(tmp_path / "a"), str(tmp_path / "b"))
    assert (rename["fs.path.source"], rename["fs.path.target"]) == (str(tmp_path / "a"), str(tmp_path / "b"))
    assert (rename["fs.path.sourceraw"], rename["fs.path.targetraw"]) == ("a", "b")
    link = next(e for e in watch.events(proc__pid=pid) if e["evt.type"] in ("link", "linkat"))
    assert link["evt.arg.newpath"] == str(tmp_path / "c")
    symlink = next(e for e in watch.events(proc__pid=pid) if e["evt.type"] in ("symlink", "symlinkat"))
    assert (symlink["evt.arg.target"], symlink["evt.arg.linkpath"]) == ("b", str(tmp_path / "d"))


def test_calls_on_a_path_report_it(watch: Watching, tmp_path: Path) -> None:
    """Mode, owner and folders: one path, absolute."""
    code = "os.mkdir('m', 0o700); open('f','w').close(); os.chmod('f', 0o4755); os.rmdir('m'); os.unlink('f')"
    pid = opened(watch, code, cwd=tmp_path)

    chmod = next(e for e in watch.events(proc__pid=pid) if e["evt.type"] in ("chmod", "fchmodat"))
    assert chmod["evt.arg.filename"] == chmod["fs.path.name"] == str(tmp_path / "f")
    assert "S_ISUID" in chmod["evt.arg.mode"]
    assert watch.one(proc__pid=pid, evt__type="mkdir")["evt.arg.path"] == str(tmp_path / "m")
    assert watch.one(proc__pid=pid, evt__type="rmdir")["fs.path.name"] == str(tmp_path / "m")
    assert watch.one(proc__pid=pid, evt__type="unlink")["fs.path.name"] == str(tmp_path / "f")


def test_bytes_that_are_no_text_come_through(watch: Watching, tmp_path: Path) -> None:
    """A name need not be UTF-8, nor an argument."""
    name = b"\xff\xfe\x1b[31mred"
    path = os.fsencode(tmp_path) + b"/" + name
    watch.run("/usr/bin/touch", os.fsdecode(path))

    event = next(e for e in watch.events(proc__name="touch") if e["fd.filename"] == os.fsdecode(name))

    assert os.fsencode(event["fd.name"]) == path
    assert os.fsencode(event["proc.args"]) == path


def test_a_path_as_long_as_the_kernel_takes_comes_whole(watch: Watching, tmp_path: Path) -> None:
    """4095 bytes of name are no less a name."""
    raw = "/" * (4095 - len(str(tmp_path / "x"))) + str(tmp_path / "x")
    (tmp_path / "x").write_text("")
    assert len(raw) == 4095
    pid = opened(watch, "os.open(sys.argv[1], os.O_RDONLY)", raw, cwd=tmp_path)

    event = watch.one(proc__pid=pid, fd__nameraw=raw)

    assert event["fd.name"] == event["fd.realpath"] == str(tmp_path / "x")


@pytest.mark.parametrize(("folders", "is_known"), [(200, True), (300, False)])
def test_a_path_too_deep_to_walk_has_no_kernel_name_but_its_own(
    watch: Watching, tmp_path: Path, folders: int, is_known: bool
) -> None:
    """Beyond 256 folders the kernel's path is unknown, the lexical one still there."""
    deep = tmp_path.joinpath(*["d"] * folders)
    deep.mkdir(parents=True)
    (deep / "f").write_text("")
    pid = opened(watch, "os.open(sys.argv[1], os.O_RDONLY)", str(deep / "f"), cwd=tmp_path)

    event = watch.one(proc__pid=pid, fd__name=str(deep / "f"))

    assert event["fd.realpath"] == (str(deep / "f") if is_known else None)


def test_three_thousand_arguments_are_cut_and_nothing_breaks(watch: Watching) -> None:
    """The first 4 KiB of a command line are retained."""
    watch.run("/bin/cat", "/etc/issue", *["/dev/null"] * 3000)

    found = [e["proc.cmdline"] for e in watch.events(proc__name="cat", fd__name="/etc/issue")]
    # Other tests run it, too.
    command = next(each for each in found if each.startswith("cat /etc/issue /dev/null"))
    assert len(command) < 4200


def test_descriptors_that_are_no_files_have_their_type(tmp_path: Path) -> None:
    """A memfd by its name, a pipe as a pipe, a folder as a folder."""
    code = "m=os.memfd_create('secret'); r,w=os.pipe(); os.write(w,b'x'); os.write(m,b'y'); os.open('.', os.O_RDONLY)"
    with watching("memfd_create", "write", "openat") as watch:
        pid = opened(watch, code, cwd=tmp_path)

    memfd = watch.one(proc__pid=pid, evt__type="memfd_create")
    assert (memfd["fd.type"], memfd["fd.typechar"], memfd["fd.name"]) == ("memfd", "m", "secret")
    kinds = {e["evt.buffer"]: e["fd.type"] for e in watch.events(proc__pid=pid, evt__type="write")}
    assert (kinds["x"], kinds["y"]) == ("pipe", "memfd")
    folder = watch.events(proc__pid=pid, fd__type="directory", fd__name=str(tmp_path))
    assert folder


def test_a_32_bit_call_from_a_64_bit_program_is_seen(watch: Watching, tmp_path: Path) -> None:
    """The 32-bit entry is no bypass."""
    (tmp_path / "target32").write_text("x")
    program = Programs(tmp_path)("open32")
    watch.run(str(program), str(tmp_path / "target32"), check=False)

    seen = watch.events(fd__name=str(tmp_path / "target32"))

    assert any(e["evt.type"] in ("open", "openat") for e in seen)


def test_the_record_of_a_64_bit_call_is_not_marked_as_32_bit(watch: Watching, tmp_path: Path) -> None:
    """The two entries are distinguished."""
    pid = opened(watch, "os.open('.', os.O_RDONLY)", cwd=tmp_path)

    event = watch.events(proc__pid=pid, fd__name=str(tmp_path))[0]

    assert struct.calcsize("P") == 8
    assert not event.batch.columns["bits"][event.index] & 1 << 12


def test_the_old_mmap_of_the_32_bit_entry_has_its_real_arguments(tmp_path: Path) -> None:
    """They are behind a pointer."""
    program = Programs(tmp_path)("mmap32", bits=32, static=True)
    with watching("mmap") as watch:
        watch.run(program)
        lengths = {event["evt.rawarg.length"] for event in watch.events(evt__type="mmap", proc__name="mmap32-32-stati")}

    assert 1234567 in lengths
