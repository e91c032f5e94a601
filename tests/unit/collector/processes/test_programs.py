import hashlib
import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from collector.events.build import loads_code
from collector.events.system_calls import CALLS
from collector.processes import programs
from collector.processes.container_names import ContainerName
from collector.processes.parts import Credentials, ExecutedProgram
from collector.processes.process import TrackedProcess
from collector.processes.programs import KnownPrograms
from collector.procfs.foreign_files import cached_stat
from collector.procfs.look_ups import LookUps
from collector.records.types import File, ProcessIdentity, Syscall
from schemas.batch import ProgramFile


def process(file: Path, container: ContainerName | None = None) -> TrackedProcess:
    """Return a process that ran a file as a program and has ended."""
    found = cached_stat(str(file))
    device = os.major(found.device) << 20 | os.minor(found.device)
    program = ExecutedProgram(
        name=file.name,
        exepath=str(file),
        exe_dev=device,
        exe_ino=found.inode,
        exe_ctime=found.ctime,
        exe_mtime=found.mtime,
        is_start_seen=True,
    )
    return TrackedProcess(1 << 22, 1, 1, Credentials(0), program=program, container=container)


def syscall(number: int, registers: tuple[int, ...], result: int, file: File, at: int) -> Syscall:
    """Return a call of root about a file; at: ns."""
    return Syscall(
        ProcessIdentity(at, 1, 1, 1, 1, 0, 0),
        number,
        0,
        1,
        False,
        result,
        (*registers, *(0,) * (6 - len(registers))),
        3,
        file,
        None,
        None,
        None,
        None,
        None,
        b"",
        b"",
    )


@pytest.fixture
def known(tmp_path: Path) -> Iterator[Callable[[], KnownPrograms]]:
    """Yield a function that makes what a collector knows after a start; all but the newest are ended."""
    made: list[KnownPrograms] = []

    def make() -> KnownPrograms:
        for each in made:
            each.close()
        made.append(KnownPrograms(LookUps(timeout=10.0), tmp_path / "programs.json"))
        return made[-1]

    yield make
    made[-1].close()


def settle(programs: KnownPrograms) -> None:
    """Wait for a response."""
    deadline = time.monotonic() + 20
    while not programs.poll():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def settled(programs: KnownPrograms, entry: TrackedProcess) -> ProgramFile | None:
    """Look a program up, and return what it is."""
    key = programs.key(entry)
    assert programs.is_pending(key, entry)
    settle(programs)
    assert not programs.is_pending(key, entry)
    return programs.file(entry)


def test_a_program_is_looked_up_once_even_over_a_restart(
    tmp_path: Path, known: Callable[[], KnownPrograms], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a real server; what others can have written is not believed."""
    first = known()
    found = settled(first, process(Path("/usr/bin/true")))
    assert found is not None
    assert (found.origin, found.package) == ("package", "coreutils")
    assert first.outcomes["package"] == 1
    again = known()
    entry = process(Path("/usr/bin/true"))
    assert not again.is_pending(again.key(entry), entry)
    assert again.file(entry) == found
    again.close()
    (tmp_path / "programs.json").chmod(0o666)
    doubted = known()
    assert doubted.file(entry) is None
    monkeypatch.setattr(programs, "MAX_IN_FLIGHT", 0)
    assert not doubted.is_pending(doubted.key(entry), entry)


def test_a_program_in_memory_is_known_at_once(known: Callable[[], KnownPrograms]) -> None:
    """Its process may have ended before it is looked up."""
    entry = process(Path("/usr/bin/true"))
    entry.program = replace(entry.program, is_from_memfd=True)
    made = known()
    assert made.is_pending(made.key(entry), entry)
    assert made.file(entry) == ProgramFile(origin="memory")


@pytest.mark.parametrize(
    "text", ["", "[]", '{"programs": [[1]]}', '{"programs": {"a": 1}}', '{"programs": [[1,2,3,4,5,6]]}']
)
def test_a_broken_file_of_results_is_ignored(tmp_path: Path, known: Callable[[], KnownPrograms], text: str) -> None:
    """Programs are looked up again then."""
    (tmp_path / "programs.json").write_text(text)
    (tmp_path / "programs.json").chmod(0o600)
    entry = process(Path("/usr/bin/true"))
    assert known().file(entry) is None


def test_who_wrote_a_program_is_known_from_the_open(tmp_path: Path, known: Callable[[], KnownPrograms]) -> None:
    """Also of one that was deleted before it could be read; what a package brought has no writer."""
    made = tmp_path / "made"
    made.write_bytes(b"\x7fELF")
    entry, packaged = process(made), process(Path("/usr/bin/true"))
    made.unlink()
    programs = known()
    for each in (entry, packaged):
        key = programs.key(each)
        assert key is not None
        programs.writer(key[0], writer("curl", "/usr/bin/curl"), "ann")(key[1], 7)
    assert settled(programs, entry) == ProgramFile(
        origin="dropped", written_by="curl", written_by_user="ann", written_at=7
    )
    found = settled(programs, packaged)
    assert found is not None
    assert (found.origin, found.written_by) == ("package", None)
    # What a package manager of the host unpacked isn't dropped only because nobody could look in time.
    for uid, path, origin in (
        (0, "/usr/bin/dpkg", "unknown"),
        (1, "/usr/bin/dpkg", "dropped"),
        (0, "/x/dpkg", "dropped"),
    ):
        key = programs.key(entry)
        assert key is not None
        programs.writer(key[0], writer("dpkg", path, uid), "root")(key[1], 8)
        assert (programs.file(entry) or ProgramFile()).origin == origin


def writer(name: str, path: str, uid: int = 0) -> TrackedProcess:
    """Return a process that writes files."""
    return TrackedProcess(9, 1, 1, Credentials(uid), program=ExecutedProgram(name=name, exepath=path))


def running(script: str, exec_time: int | None = None) -> TrackedProcess:
    """Return this process as if it had just been started to run a script by bash, after the script was written."""
    program = replace(process(Path("/usr/bin/bash")).program, script=script)
    entry = TrackedProcess(os.getpid(), 1, 1, Credentials(0), program=program)
    entry.exec_time = time.time_ns() if exec_time is None else exec_time
    return entry


def script_of(programs: KnownPrograms, entry: TrackedProcess) -> ProgramFile | None:
    """Start a process, and return what its script is."""
    programs.started(entry)
    while programs.is_pending(programs.script_key(entry), entry):
        settle(programs)
    return programs.script(entry)


def test_a_script_is_looked_up_beside_its_interpreter(tmp_path: Path, known: Callable[[], KnownPrograms]) -> None:
    """Children and copies of its process have it too.

    A package's is known by any path that is root's; a link to it may have been made by the script that ran.
    """
    programs = known()
    (tmp_path / "x.sh").write_text("exit\n")
    entry = running(f"{tmp_path}/../{tmp_path.name}/x.sh")
    found = script_of(programs, entry)
    digest = hashlib.sha256(b"exit\n").hexdigest()
    assert found == ProgramFile(digest, "dropped", path=entry.program.script)
    interpreter = programs.file(entry)
    assert interpreter is not None
    assert (interpreter.package, interpreter.path) == ("bash", None)
    assert programs.script(entry.copy()) == programs.script(entry.child(7, 1, 1, 1, 7)) == found
    packaged = script_of(programs, running("/bin/ldd"))
    assert packaged is not None
    assert (packaged.origin, packaged.package, packaged.path) == ("package", "libc-bin", "/bin/ldd")
    (tmp_path / "ldd").symlink_to("/usr/bin/ldd")
    assert script_of(programs, running(f"{tmp_path}/ldd")) == ProgramFile(origin="unknown", path=f"{tmp_path}/ldd")
    shutil.copy("/usr/bin/ldd", tmp_path / "copy")
    other = script_of(programs, running(str(tmp_path / "copy")))
    assert other is not None
    assert (other.origin, other.sha256, other.package) == ("dropped", packaged.sha256, None)


def test_a_script_that_changed_after_the_start_is_unknown(tmp_path: Path, known: Callable[[], KnownPrograms]) -> None:
    """What the interpreter read is gone; so is a script that was deleted, and a FIFO is none."""
    (tmp_path / "x.sh").write_text("exit\n")
    changed = running(f"{tmp_path}/x.sh", cached_stat(f"{tmp_path}/x.sh").ctime - programs.CLOCK_SLACK - 1)
    os.mkfifo(tmp_path / "fifo")
    for entry in (changed, running(f"{tmp_path}/gone.sh"), running(f"{tmp_path}/fifo")):
        assert script_of(known(), entry) == ProgramFile(origin="unknown", path=entry.program.script)
        assert entry.script_file is None
    assert script_of(known(), process(Path("/usr/bin/true"))) is None


def test_code_that_a_privileged_program_loads_is_looked_up(tmp_path: Path, known: Callable[[], KnownPrograms]) -> None:
    """A library that it maps, or a module that it opens; not what others load, nor data that is opened."""
    programs = known()
    library = tmp_path / "x.so.1"
    library.write_bytes(b"\x7fELF")
    data, module = tmp_path / "data", tmp_path / "x.py"
    data.write_bytes(b"")
    module.write_bytes(b"")
    entry = running("/usr/bin/ldd")
    entry.start_epoch = entry.start_time = 0

    def loaded(path: Path, name: str, *registers: int, inode: int | None = None, result: int = 3) -> str | None:
        found = path.stat()
        number = next(index for index, call in enumerate(CALLS) if call.event == name)
        own = found.st_ino if inode is None else inode
        file = File(found.st_mode, 1, own, 0, str(path), False, False, False, False)
        call = syscall(number, registers, result, file, time.time_ns())
        located = programs.opened(call, entry) if loads_code(call) else None
        if located is None:
            return None
        programs.is_pending(located.key, entry, located)
        while programs.is_pending(located.key, entry, located):
            settle(programs)
        return programs.opened_text(located)

    maps = ("mmap", 0, 4096, 5)
    assert loaded(library, *maps) == f"{hashlib.sha256(library.read_bytes()).hexdigest()}\0dropped" + "\0" * 6
    libc = Path("/lib/x86_64-linux-gnu/libc.so.6").resolve()
    assert (loaded(libc, *maps) or "").split("\0")[1:3] == ["package", "libc6"]
    assert (loaded(module, "openat", 0, 0, os.O_RDONLY) or "").split("\0")[1] == "dropped"
    assert loaded(data, *maps) is not None
    for refused in (
        loaded(library, "mmap", 0, 4096, 1),
        loaded(library, *maps, result=-13),
        loaded(library, *maps, inode=7),
        loaded(data, "openat", 0, 0, os.O_RDONLY),
        loaded(module, "openat", 0, 0, os.O_RDWR),
        loaded(tmp_path, *maps),
    ):
        assert refused is None
    entry.credentials = Credentials(1000, cap_effective=0)
    assert loaded(library, *maps) is None
    entry.credentials = Credentials(1000, cap_effective=1)
    assert loaded(library, *maps) is not None


def test_a_file_that_many_map_is_located_once_for_the_records_of_one_read(
    tmp_path: Path, known: Callable[[], KnownPrograms]
) -> None:
    """Only for root, and a file that was changed after a call is not what it mapped."""
    programs, library = known(), tmp_path / "x.so.1"
    library.write_bytes(b"\x7fELF")
    found = library.stat()
    file = File(found.st_mode, 1, found.st_ino, 0, str(library), False, False, False, False)
    number = next(index for index, call in enumerate(CALLS) if call.event == "mmap")
    entry = running("/usr/bin/ldd")
    entry.start_epoch = entry.start_time = 0
    entry.credentials = Credentials(0, cap_effective=1)

    def located(seconds: int = 0) -> bool:
        at = time.time_ns() + seconds * 10**9
        return programs.opened(syscall(number, (0, 4096, 5), 3, file, at), entry) is not None

    assert located()
    library.unlink()
    assert (located(), located(-60)) == (True, False)
    entry.credentials = Credentials(1000, cap_effective=1)
    assert not located()
    entry.credentials = Credentials(0, cap_effective=1)
    programs.begin_turn()
    assert not located()


def test_a_query_that_fails_is_repeated_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing waits for it again."""
    monkeypatch.setattr(programs, "EARLY_SECONDS", 0.0)
    monkeypatch.setattr(programs, "SECONDS_EACH", 0.0)

    class Abandoning:
        asked = 0

        def program(self, question: dict[str, Any]) -> Any:
            assert json.dumps(question)
            self.asked += 1

        def close(self) -> None:
            pass

    look_ups = Abandoning()
    made = KnownPrograms(look_ups, tmp_path / "none.json")
    entry = process(Path("/usr/bin/true"))
    found = settled(made, entry)
    assert found == ProgramFile(origin="unknown")
    deadline = time.monotonic() + 10
    while look_ups.asked < 2:
        assert not made.is_pending(made.key(entry), entry)
        assert time.monotonic() < deadline
        made.poll()
        time.sleep(0.005)
    made.close()


def test_a_query_that_hangs_costs_what_it_took_and_is_not_repeated_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stopped server stands for a disk that doesn't respond: the next program waits until the budget is regained."""
    monkeypatch.setattr(programs, "BURST", 0.0)
    monkeypatch.setattr(programs, "EARLY_SECONDS", 0.0)
    slept: list[float] = []
    monkeypatch.setattr(programs, "time", SimpleNamespace(monotonic=time.monotonic, sleep=slept.append))
    look_ups = LookUps(timeout=0.3)
    assert look_ups.memory(os.getpid())[0]
    assert look_ups.pid is not None
    os.kill(look_ups.pid, signal.SIGSTOP)
    made = KnownPrograms(look_ups, tmp_path / "none.json")
    entry = process(Path("/usr/bin/true"))
    key = made.key(entry)
    assert made.is_pending(key, entry)
    settle(made)
    assert made.file(entry) == ProgramFile(origin="unknown")
    assert not made.is_pending(key, entry)
    made.close()
    assert made.outcomes["abandoned"] == 1
    assert slept[0] >= 0.3 / programs.SHARE - 0.3


def test_what_could_not_be_found_in_one_container_is_looked_up_in_the_next(tmp_path: Path) -> None:
    """Its overlay may have the number of one that is gone; the container's first process leads to the files."""
    questions: list[dict[str, Any]] = []
    answers = iter(({"origin": "image"}, {"origin": "package", "sha256": "a", "package": "coreutils"}))

    class Answering:
        def program(self, question: dict[str, Any]) -> Any:
            questions.append(question)
            return {"bytes": 0, "seconds": 0.0} | next(answers)

        def close(self) -> None:
            pass

    def started(digit: str) -> TrackedProcess:
        entry = process(Path("/usr/bin/true"), ContainerName("docker", digit * 64))
        entry.program = replace(entry.program, is_lower_layer=True)
        made.started(entry)
        return entry

    first = process(Path("/usr/bin/true"), ContainerName("docker", "b" * 64))
    first.pid = 7
    made = KnownPrograms(
        Answering(), tmp_path / "none.json", lambda entry: first if entry.container == first.container else None
    )
    before = started("a")
    settle(made)
    assert made.file(before) == ProgramFile(origin="image")
    assert not made.is_pending(made.key(started("a")), before)
    entry = started("b")
    assert made.is_pending(made.key(entry), entry)
    settle(made)
    assert made.file(entry) == ProgramFile(origin="package", sha256="a", package="coreutils")
    assert not made.is_pending(made.key(started("c")), entry)
    assert [each["pids"] for each in questions] == [[before.pid], [entry.pid, 7]]
    made.close()


def test_a_program_of_a_container_is_another_than_the_same_of_the_host() -> None:
    """So that no container decides what a program of the host is."""
    inside = process(Path("/usr/bin/true"), ContainerName("docker", "3d09256e" + "0" * 56))
    assert KnownPrograms.key(inside) != KnownPrograms.key(process(Path("/usr/bin/true")))
