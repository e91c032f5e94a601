"""`lanner actions serve` with real processes and control groups."""

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from collector.actions.containers import Freeze
from collector.actions.effect import ActionRefused, TargetGone
from collector.actions.socket import ActionsClient
from collector.host import this_host
from collector.processes.process import TICK
from collector.procfs.parse import parse_stat
from schemas.action import ActionDecision, ActionIntent, ActionResult, encode_action_record
from tests.live.collector.actions.container import Container, container
from tests.live.needs import lacking

SECOND = 1_000_000_000
HOST = this_host("actions-test")
_OUTCOMES = ("done", "gone", "refused", "failed", "undone", "ended")
FREEZER = Path("/sys/fs/cgroup/freezer")
BOMB = """
import mmap, os, time
count = mmap.mmap(-1, 4)
while True:
    number = int.from_bytes(count[:4], "little") + 1
    if number > 400:
        time.sleep(60)
    count[:4] = number.to_bytes(4, "little")
    os.fork()
"""


class Service:
    """`lanner actions serve`, and a client of it."""

    def __init__(self, folder: Path) -> None:
        self.socket, self._folder, self._number = folder / "s", folder, 0
        self.start()
        self.client = ActionsClient(self.socket)
        self._results: list[ActionResult] = []

    def start(self) -> None:
        """Start the process and wait until it listens."""
        section = f"collector.actions.socket={self.socket}", f"collector.actions.state_dir={self._folder}/state"
        enabled = "collector.actions.enabled=[kill, freeze, isolate, quarantine, collect]", f"host.id={HOST.id}"
        flags = [part for each in (*section, *enabled) for part in ("-o", each)]
        self.socket.unlink(missing_ok=True)
        with (self._folder / "log").open("a") as log:
            command = (sys.executable, "-m", "lanner", "actions", "serve", *flags)
            self.process = subprocess.Popen(command, stderr=log, stdout=log)
        for _ in range(600):
            if self.socket.exists() or self.process.poll() is not None:
                break
            time.sleep(0.05)
        assert self.socket.exists(), (self._folder / "log").read_text()

    def kill(self) -> None:
        """End it with SIGKILL."""
        self.process.kill()
        self.process.wait()

    def send(self, record: ActionIntent | ActionDecision) -> None:
        """Pass on a record, which was stored now."""
        send = self.client.send_intent if isinstance(record, ActionIntent) else self.client.send_decision
        send(encode_action_record(record), b"", time.time_ns(), time.time_ns())

    def result(self, record: ActionIntent | ActionDecision, *outcomes: str) -> ActionResult:
        """Pass on a record, and return the result about it."""
        self.send(record)
        return self.awaited(record.id if isinstance(record, ActionIntent) else record.subject, *outcomes)

    def awaited(self, intent: str, *outcomes: str) -> ActionResult:
        """Return a result about an intent."""
        for _ in range(4000):
            self._results += self.client.poll()
            for each in self._results:
                if (
                    each.intent == intent
                    and each.outcome != "received"
                    and each.outcome in (outcomes or (each.outcome,))
                ):
                    self._results.remove(each)
                    return each
            time.sleep(0.005)
        raise AssertionError(f"no result; {self.client.last_error}; {(self._folder / 'log').read_text()}")

    def close(self) -> None:
        """End both."""
        self.client.close()
        self.process.terminate()
        self.process.wait()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Return the running service."""
    with contextlib.closing(Service(tmp_path_factory.mktemp("act"))) as found:
        yield found


@contextlib.contextmanager
def started(*command: str) -> Iterator["subprocess.Popen[str]"]:
    """Start a command in a session of its own, and end what is left of that."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            yield process
        finally:
            for pid in members(process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.kill()


def stat(pid: int) -> "tuple[str, int, int]":
    """Return state, session and start time of a process, the latter as in events."""
    found = parse_stat(Path(f"/proc/{pid}/stat").read_bytes())
    assert found is not None
    offset = time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    return found.state, found.session, found.start_ticks * TICK + offset


def members(session: int) -> list[int]:
    """Return the living processes of a session."""
    found = []
    for name in os.listdir("/proc"):  # noqa: PTH208
        with contextlib.suppress(OSError, AssertionError):
            if name.isdecimal() and (facts := stat(int(name)))[1] == session and facts[0] not in "ZX":
                found.append(int(name))
    return found


def program(pid: int) -> str:
    """Return the path of a process's program."""
    return str(Path(f"/proc/{pid}/exe").readlink())


def kill(pid: int, **changes: object) -> ActionIntent:
    """Return an intent to kill a process."""
    base = ActionIntent(secrets.token_hex(8), "kill", "process", HOST.id, "", "do", f"process {pid}", time.time_ns())
    return replace(replace(base, pid=pid, start_time=stat(pid)[2]), **changes)  # type: ignore[arg-type]


def freeze(one: Container, lease: int = 60 * SECOND) -> ActionIntent:
    """Return an intent to freeze a container."""
    base = ActionIntent(secrets.token_hex(8), "freeze", "container", HOST.id, "", "do", "container web", time.time_ns())
    return replace(base, container_id=one.id, lease=lease)


def undo(intent: ActionIntent, kind: str = "undo") -> ActionDecision:
    """Return a decision about an intent."""
    return ActionDecision(secrets.token_hex(8), kind, intent.id, "anna", time.time_ns())  # type: ignore[arg-type]


@contextlib.contextmanager
def group(path: str) -> Iterator[Path]:
    """Create a control group where the freezer is; the folders above it stay."""
    root = FREEZER if FREEZER.is_dir() else Path("/sys/fs/cgroup")
    folder = root / path
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        for _ in range(100):
            with contextlib.suppress(OSError):
                folder.rmdir()
            if not folder.exists():
                break
            time.sleep(0.02)


@contextlib.contextmanager
def frozen_soon(identifier: str = "") -> Iterator[tuple[Container, Path]]:
    """Start a container whose processes are in a group of the freezer; yield that too."""
    with container(container_id=identifier) as one, contextlib.ExitStack() as stack:
        folder = one.cgroup
        if FREEZER.is_dir():
            folder = stack.enter_context(group(f"docker/{one.id}"))
            for pid in (one.cgroup / "cgroup.procs").read_text().split():
                (folder / "cgroup.procs").write_text(pid)
        try:
            yield one, folder
        finally:
            with contextlib.suppress(OSError):
                (folder / "freezer.state").write_text("THAWED")
            one.end()


def is_unified(root: Path) -> bool:
    """Return whether control groups of version 2 are mounted at a folder."""
    return (root / "cgroup.controllers").exists()


def is_frozen(folder: Path) -> bool:
    """Return whether the processes of a group are frozen."""
    if (folder / "freezer.state").exists():
        return (folder / "freezer.state").read_text() == "FROZEN\n"
    return "frozen 1" in (folder / "cgroup.events").read_text()


def test_a_process_is_killed_with_its_descendants_and_without_others(service: Service) -> None:
    """Those of its session that descend from another process live on."""
    script = "sleep 60 & echo $!; (sleep 60 & sleep 60) & echo $!; wait"
    with started("sh", "-c", script) as process:
        assert process.stdout is not None
        other, target = int(process.stdout.readline()), int(process.stdout.readline())
        for _ in range(200):
            if len(members(process.pid)) == 4:
                break
            time.sleep(0.01)
        result = service.result(kill(target))

        assert (result.outcome, result.text) == ("done", "killed 2 processes")
        assert sorted(members(process.pid)) == sorted((process.pid, other))
        assert service.result(kill(process.pid, target="session")).text == "killed 2 processes"


def test_forking_faster_than_killing_does_not_help(service: Service) -> None:
    """None of a fork bomb's processes is left."""
    with started(sys.executable, "-S", "-c", BOMB) as process:
        while len(members(process.pid)) < 10:
            time.sleep(0.01)
        result = service.result(kill(process.pid))

        assert result.outcome == "done"
        assert members(process.pid) == []


def test_another_process_with_the_same_id_is_not_killed(service: Service) -> None:
    """Its start time differs; so does that of a process which began just before."""
    with started("sleep", "60") as process:
        for difference in (SECOND, -SECOND // 10):
            intent = kill(process.pid)
            result = service.result(replace(intent, start_time=intent.start_time + difference))
            assert (result.outcome, result.text) == (
                "gone",
                f"process {process.pid} has ended; another one has its id now",
            )
        assert stat(process.pid)[0] == "S"
        intent = kill(process.pid)
    assert service.result(intent).outcome == "gone"


def test_what_a_process_runs_now_decides_whether_it_is_killed(service: Service) -> None:
    """It executed a program of the host that must not be killed since the rule matched, whatever the intent names."""
    script = (
        "mount -t tmpfs none /opt && mkdir /opt/lanner && cp /bin/sleep /opt/lanner/sleep && echo && read _;"
        "exec /opt/lanner/sleep 60"
    )
    with started("unshare", "-m", "sh", "-c", f"echo | ({script})") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "\n"
        found: list[int] = []
        for _ in range(500):
            found = [each for each in members(process.pid) if program(each) == "/opt/lanner/sleep"]
            if found:
                break
            time.sleep(0.01)
        for intent in (kill(found[0]), kill(found[0], container_id="c" * 64)):
            result = service.result(intent)
            assert (result.outcome, result.text) == ("refused", "the host needs /opt/lanner/sleep")
        # Its parent is killed, and it is spared, stopped by nothing.
        result = service.result(kill(process.pid))
        assert result.text == "killed 1 process; spared 1: the host needs /opt/lanner/sleep"
        assert stat(found[0])[0] == "S"


@pytest.mark.parametrize("pid", [1, 2, "own", "service"])
def test_the_host_and_lanner_are_not_killed(service: Service, pid: "int | str") -> None:
    """The first processes, the service itself, what it descends from, and what is connected to it."""
    number = {"own": os.getpid(), "service": service.process.pid}.get(str(pid), pid)
    result = service.result(kill(int(number)))
    assert result.outcome == "refused"
    assert result.text


def test_a_frozen_container_thaws_by_undo_and_only_once(service: Service) -> None:
    """Two people undo it at the same time as well."""
    with frozen_soon() as (one, folder):
        intent = freeze(one)
        result = service.result(intent)
        assert (result.outcome, is_frozen(folder)) == ("done", True)
        assert "froze container web: " in result.text
        service.send(undo(intent))
        assert service.result(undo(intent)).text == "thawed container web"
        assert not is_frozen(folder)
        again = service.result(freeze(one))
        assert again.outcome == "done"


def test_a_lease_ends_although_the_service_was_killed(tmp_path: Path) -> None:
    """So does one that was extended; a new service reports it."""
    with contextlib.closing(Service(tmp_path)) as own, frozen_soon() as (one, folder):
        intent = freeze(one)
        assert own.result(intent).outcome == "done"
        extended = replace(undo(intent, "extend"), lease=SECOND)
        assert own.result(extended, "extended").text == "for 1s from now on"
        own.kill()
        assert is_frozen(folder)
        for _ in range(1000):
            if not is_frozen(folder):
                break
            time.sleep(0.01)
        assert not is_frozen(folder)
        own.start()
        assert own.awaited(intent.id, "ended").text in ("it was thawed already", "thawed container web")


def test_a_service_that_stops_leaves_the_lease_as_it_is(tmp_path: Path) -> None:
    """The next one ends it, on request, and with it the process that waited for its end."""
    with contextlib.closing(Service(tmp_path)) as own, frozen_soon() as (one, folder):
        intent = freeze(one)
        assert own.result(intent).outcome == "done"
        own.process.terminate()
        own.process.wait()
        assert is_frozen(folder)
        own.start()
        assert own.result(undo(intent), "undone").text == "thawed container web"
        left = subprocess.run(("pgrep", "-f", one.id), capture_output=True, text=True, check=False)
        assert left.stdout == ""


def test_a_container_can_not_have_another_one_frozen(service: Service) -> None:
    """A group that it creates below its own, with another's name, doesn't count; of two of the host, none does."""
    with frozen_soon() as (one, folder), frozen_soon() as (other, others_folder):
        with group(f"docker/{other.id}/docker-{one.id}.scope"):
            assert service.result(freeze(one)).outcome == "done"
            assert (is_frozen(folder), is_frozen(others_folder)) == (True, False)
        with group(f"system.slice/docker-{other.id}.scope"):
            result = service.result(freeze(other))
        assert result.outcome == "refused"
        assert "two control groups claim this id" in result.text
        assert not is_frozen(others_folder)
    with frozen_soon() as (one, _), group(f"docker/{one.id}/docker-{'e' * 64}.scope"):
        result = service.result(freeze(replace(one, id="e" * 64)))
        assert result.outcome == "refused"
        assert "its id can be forged" in result.text
    assert service.result(freeze(one)).outcome == "gone"


def test_networks_files_and_evidence_are_acted_on(service: Service, tmp_path: Path) -> None:
    """Each with its undo; a second action on the same network is refused, and an extended one lasts longer."""
    with container() as one:
        isolate = replace(freeze(one), type="isolate")
        assert service.result(isolate).text == "isolated the network of the container; only loopback is left"
        second = service.result(replace(isolate, id="second"))
        assert (second.outcome, second.text.partition(",")[0]) == ("refused", "it is isolated already")
        assert service.result(replace(undo(isolate, "extend"), lease=3600 * SECOND), "extended").outcome == "extended"
        assert " expires 59m" in one.inside("nft", "list", "set", "inet", "lanner_isolation", "lease").stdout
        assert service.result(undo(isolate)).text == "released its network"
        evidence = replace(isolate, id="evidence", type="collect", lease=0)
        assert "of 2 processes" in service.result(evidence).text
    file = tmp_path / "x"
    file.write_text("x")
    quarantine = replace(isolate, id="file", type="quarantine", target="file", lease=0, container_id="", path=str(file))
    assert "SHA-256" in service.result(quarantine).text
    assert not file.exists()
    file.write_text("y")
    assert "exists again: it isn't overwritten" in service.result(undo(quarantine)).text
    file.unlink()
    assert service.result(undo(quarantine)).text == f"restored {file}"
    assert file.read_text() == "x"


def test_others_may_not_connect(service: Service) -> None:
    """Neither by the file's mode, nor if somebody changes that."""
    assert service.socket.stat().st_mode & 0o777 == 0o660
    service.socket.parent.chmod(0o755)
    code = (
        # It need not have the right to the folders above.
        "import os, socket, sys; os.chdir(sys.argv[1]); os.setgid(65534); os.setuid(65534);"
        "s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); s.connect(sys.argv[2]); print(s.recv(1000))"
    )
    command = (sys.executable, "-S", "-c", code, str(service.socket.parent), service.socket.name)
    assert "PermissionError" in subprocess.run(command, capture_output=True, text=True, check=False).stderr
    service.socket.chmod(0o666)
    assert "only root may connect" in subprocess.run(command, capture_output=True, text=True, check=False).stdout


def test_version_2_of_the_freezer_freezes_and_thaws() -> None:
    """Also while version 1 is mounted elsewhere."""
    root = next((each for each in (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup")) if is_unified(each)), None)
    if root is None:
        lacking("control groups of version 2 are not mounted")
    identifier = secrets.token_hex(32)
    folder, action = root / "docker" / identifier, Freeze(root=root)
    folder.mkdir(parents=True)
    with started("sleep", "60") as process:
        (folder / "cgroup.procs").write_text(str(process.pid))
        intent = replace(kill(process.pid), type="freeze", target="container", container_id=identifier, lease=SECOND)
        facts = action.before(intent)
        assert action.do(intent).text == f"froze process {process.pid}: 1 process"
        assert "frozen 1" in (folder / "cgroup.events").read_text()
        with pytest.raises(ActionRefused, match="frozen already"):
            action.before(intent)
        assert action.undo(intent, facts) == f"thawed process {process.pid}"
        assert "frozen 0" in (folder / "cgroup.events").read_text()
        assert action.undo(intent, {}) == "it was thawed already"
        process.kill()
        process.wait()
    for _ in range(100):
        with contextlib.suppress(OSError):
            folder.rmdir()
        if not folder.exists():
            break
        time.sleep(0.02)
    for known in (facts, {}):
        with pytest.raises(TargetGone):
            action.undo(intent, known)
