import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from collector.processes.users import UserFiles
from collector.procfs import look_up_server, look_ups
from collector.procfs.accounts import AccountFilesQuery
from collector.procfs.look_ups import LookUps
from tests.unit.collector.processes.test_users import CONTAINER, Clock, make_process, make_root

ROOT = Path(look_up_server.__file__).parents[2]
_SERVER = """
import sys, time
sys.stdout.write('{}\\n')
sys.stdout.flush()
for line in sys.stdin:
    if line == '13\\n':
        time.sleep(1000)
    if line == '14\\n':
        break
    print('=6f6b -', flush=True)
"""


@contextmanager
def asking(*arguments: str, **options: object) -> Iterator[LookUps]:
    """Yield a client whose server is the test's own: query 13 is never answered, at 14 the server ends."""
    found = LookUps(Path("/p"), Path("/h"), command=[sys.executable, "-c", _SERVER, *arguments], **options)  # type: ignore[arg-type]
    try:
        yield found
    finally:
        found.close()


def test_command_line_and_environment_are_those_of_procfs() -> None:
    """From a real server, about this process."""
    own = Path("/proc/self")
    look_ups = LookUps()
    try:
        assert look_ups.memory(os.getpid()) == (
            (own / "cmdline").read_bytes()[: 64 * 1024],
            (own / "environ").read_bytes()[: 64 * 1024],
        )
        assert look_ups.memory(2**22 + 1) == (None, None)
        assert look_ups.given_up == 0
    finally:
        look_ups.close()


def test_a_server_that_expects_containers_answers_as_before() -> None:
    """It imports what reads their accounts ahead of the first query, once, and answers nothing to that."""
    look_ups = LookUps()
    try:
        look_ups.expect_containers()
        first = look_ups.pid
        look_ups.expect_containers()
        assert look_ups.memory(os.getpid())[0] == Path("/proc/self/cmdline").read_bytes()
        assert look_ups.json("/nowhere") is None
        assert (look_ups.pid, look_ups.given_up) == (first, 0)
    finally:
        look_ups.close()


def test_the_process_for_look_ups_starts_without_modules_that_take_much_memory() -> None:
    """Every host has this process, so it imports what reads accounts and bundles only when it needs them."""
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import {look_up_server.__name__}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    assert not {"ctypes", "dataclasses", "enum", "inspect", "json", "pathlib", "re", "typing"} & set(
        done.stdout.split()
    )


def test_accounts_are_what_is_found_here_and_now(tmp_path: Path) -> None:
    """With names that aren't valid text, and again when they change."""
    host = make_root(tmp_path / "host", "")
    root = make_root(tmp_path / "inside", "")
    (root / "etc" / "passwd").write_bytes(b"b\xff:x:5:5::/:\n")
    make_process(tmp_path, 9, root, uid_map="0 100000 65536\n")
    look_ups, clock = LookUps(tmp_path / "proc", host), Clock()
    try:
        users = UserFiles(tmp_path / "proc", host, clock, look_ups.accounts)
        assert users.names(100_005, None, -1, CONTAINER, (9,)).user == "b\udcff"
        clock.seconds += 2
        assert users.names(100_005, None, -1, CONTAINER, (9,)).user == "b\udcff"
        (root / "etc" / "passwd").write_text("c:x:5:5::/:\n")
        clock.seconds += 2
        assert users.names(100_005, None, -1, CONTAINER, (9,)).user == "c"
        assert look_ups.accounts(AccountFilesQuery((77,), "/")) is not None
    finally:
        look_ups.close()


def test_what_is_not_answered_is_given_up_and_the_next_is_queried_all_the_same() -> None:
    """Another server replaces the blocked one, whose end is reported before its pid can be reused."""
    begin, reported = time.monotonic(), list[tuple[str, int]]()
    with asking(
        timeout=0.1,
        on_start=lambda pid: reported.append(("start", pid)),
        on_end=lambda pid: reported.append(("end", pid)),
    ) as found:
        assert found.memory(1) == (b"ok", None)
        assert found.memory(13) == (None, None)
        assert found.memory(1) == (b"ok", None)
        assert found.given_up == 1
        until(lambda: found.left_behind == 0)
        pids = [pid for what, pid in reported if what == "start"]
        assert reported == [("start", pids[0]), ("start", pids[1]), ("end", pids[0])] or reported[1:] == [
            ("end", pids[0]),
            ("start", pids[1]),
        ]

    assert time.monotonic() - begin < 10
    assert reported[-1] == ("end", pids[1])


def test_a_server_that_ended_is_replaced() -> None:
    """The query that it didn't answer is abandoned."""
    with asking() as found:
        assert found.memory(14) == (None, None)
        assert found.memory(1) == (b"ok", None)
        assert found.given_up == 1


def test_a_server_that_nobody_asks_ends_and_the_next_query_starts_another() -> None:
    """It takes 10 MiB of memory, and its end is reported, so that its pid can be reused."""
    ended: list[int] = []
    with asking(on_end=ended.append) as found:
        assert found.memory(1) == (b"ok", None)
        first = found.pid
        found.end_idle(look_ups.IDLE_SECONDS)
        assert (found.pid, ended) == (first, [])
        assert found.processor_seconds > 0
        found.end_idle(0)
        assert (found.pid, found.processor_seconds) == (None, 0)
        until(lambda: found.left_behind == 0)
        assert ended == [first]
        assert found.memory(1) == (b"ok", None)
        assert found.given_up == 0


def test_patience_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many queries hang, the collector waits a bounded part of its time."""
    monkeypatch.setattr(look_ups, "PATIENCE", 0.3)
    with asking(timeout=0.2) as found:
        begin = time.monotonic()
        for _ in range(100):
            found.memory(13)

        assert time.monotonic() - begin < 5
        assert found.given_up == 100
        assert found.memory(1) == (None, None)
        found._patience = 1
        assert found.memory(1) == (b"ok", None)


def test_a_thread_of_its_own_is_as_patient_with_the_next_query(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program whose file hangs doesn't leave those unknown that start in the minutes after it."""
    monkeypatch.setattr(look_ups, "PATIENCE", 0.1)
    with asking(timeout=0.2, blocks=False) as found:
        assert found.memory(13) == (None, None)
        assert found.memory(1) == (b"ok", None)


def test_servers_that_can_not_be_ended_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit for file queries is lower, so that command lines can still be read."""
    monkeypatch.setattr(look_ups, "PATIENCE", 100.0)
    monkeypatch.setattr(LookUps, "_has_ended", lambda *_: False)
    with asking(timeout=0.05) as found:
        started: list[int] = []
        found._on_start = started.append
        for _ in range(3 * look_ups.MAX_LEFT_BEHIND):
            found.memory(13)
            if len(started) == look_ups.MAX_LEFT_BY_FILES:
                assert found.accounts(AccountFilesQuery((1,), "/")) is None
                assert len(started) == look_ups.MAX_LEFT_BY_FILES

        assert len(started) == look_ups.MAX_LEFT_BEHIND
        monkeypatch.undo()
        until(lambda: found.left_behind == 0)


def test_a_server_that_does_not_start_costs_its_questions_only(tmp_path: Path) -> None:
    """They are counted."""
    found = LookUps(command=[str(tmp_path / "none")])

    assert found.memory(1) == (None, None)
    assert found.given_up == 1
    found.close()


def test_the_server_ends_with_its_client() -> None:
    """Also if the client was killed: the server's standard input ends."""
    look_ups = LookUps()
    look_ups.start()
    server = look_ups._server
    assert server is not None
    assert server.stdin is not None
    server.stdin.close()

    thread = threading.Thread(target=server.wait)
    thread.start()
    thread.join(5)
    assert server.returncode == 0
    server.stdout.close() if server.stdout is not None else None


def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition that the kernel fulfills."""
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.005)
