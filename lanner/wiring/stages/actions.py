"""Builds `lanner actions serve`: the process that acts on this host."""

import fcntl
import os
import socket
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from collector.actions.accounts import AccountLock
from collector.actions.containers import Freeze, container_processes
from collector.actions.effect import ActionRefused, HostAction, TargetGone
from collector.actions.evidence import EvidenceCollection, Signer
from collector.actions.executor import ActionRights, ActionTimes, Executor
from collector.actions.files import Quarantine
from collector.actions.journal import Journal
from collector.actions.keeper import LeaseKeepers
from collector.actions.network import NetworkIsolation
from collector.actions.processes import BootOffsets, Kill
from collector.actions.socket import ActionConnection, ActionServer, BadPacket, decode_packet
from collector.host import HostFacts, this_host
from collector.processes.container_names import Naming
from collector.procfs.parse import parse_cgroup
from collector.procfs.reading import read_file
from foundation.files import open_private
from foundation.quantities import parse_sum
from foundation.sqlite import DatabaseUnusable
from foundation.text import OnNote, printable
from lanner.errors import BadInput
from lanner.settings import Settings
from schemas.action import ActionType, BadActionRecord

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from bus.actions import PeopleKeys

_FORGET_SECONDS = 3600.0
_MAX_SECONDS = 1.0
"""How long the process waits at most; a lease ends that much too late at most."""
_FAILURE_SECONDS = 60.0
_NAME_SECONDS = 2.0
_MAX_CGROUP = 1 << 14


@dataclass(slots=True)
class ActionService:
    """The parts of one process."""

    server: ActionServer
    executor: Executor
    journal: Journal
    offsets: BootOffsets
    note: OnNote
    unreadable: int = 0
    """Packets that had no effect."""
    _forget_at: float = 0.0
    _failed_at: float = float("-inf")

    def run(self, stop: Callable[[], bool], descriptor: int, turn: Callable[[], None]) -> None:
        """Run until `stop` returns True; a descriptor that becomes readable ends a wait. Raises OSError."""
        self.server.register(descriptor)
        self.executor.start(_times())
        while not stop():
            self.offsets.observe()
            soonest = 0
            with self._despite_a_full_disk():
                soonest = self.executor.turn(_times())
                for connection in self.server.connections.values():
                    self._send_results(connection)
                if time.monotonic() >= self._forget_at:
                    self._forget_at = time.monotonic() + _FORGET_SECONDS
                    self.journal.forget(time.time_ns())
            self.server.drop_closed()
            turn()
            for connection in self.server.wait(min(_MAX_SECONDS, soonest / 1e9) if soonest else _MAX_SECONDS):
                for data in connection.packets():
                    with self._despite_a_full_disk():
                        self._take(connection, data)
                        # So that an action's result doesn't wait for other packets.
                        self._send_results(connection)

    def close(self) -> None:
        """Close all. What was done stays done, until its lease ends."""
        self.server.close()
        self.journal.close()

    def _take(self, connection: ActionConnection, data: bytes) -> None:
        try:
            self.executor.take(decode_packet(data), _times())
        except BadPacket as error:
            self.unreadable += 1
            connection.send_error(printable(str(error)))
        except (BadActionRecord, AssertionError, LookupError, TypeError, ValueError) as error:
            # What passes packets on repeats them, so that the next start would fail as well.
            self.note(f"bug in Lanner: a request was not taken: {type(error).__name__}: {error}.", "error")
            connection.send_error("bug in Lanner: the request was not taken")

    def _send_results(self, connection: ActionConnection) -> None:
        while rows := self.journal.results(connection.sent):
            for number, value in rows:
                if not connection.send_result(number, value):
                    return

    @contextmanager
    def _despite_a_full_disk(self) -> Iterator[None]:
        """Go on if the journal can't be written: what isn't recorded isn't begun."""
        try:
            yield
        except OSError as error:
            if time.monotonic() >= self._failed_at + _FAILURE_SECONDS:
                self._failed_at = time.monotonic()
                text = f"The journal of actions can't be written: {error.strerror or error}: nothing is done."
                self.note(f"{text} Check collector.actions.state_dir.", "error")


def action_service(settings: Settings, note: OnNote) -> ActionService:
    """Return the service, which listens. Raises BadInput."""
    section = settings.collector.actions
    keys: tuple[Ed25519PublicKey, ...] = ()
    people: PeopleKeys | None = None
    if section.processor_key_files:
        from lanner.wiring.published import read_public_keys

        keys = read_public_keys("collector.actions.processor_key_files", section.processor_key_files)
    if section.people_key_files or section.console_key_files:
        from lanner.wiring.published import read_people_keys

        people = read_people_keys("collector.actions", section.people_key_files, section.console_key_files)
    host = this_host(settings.host.id or "", settings.host.name or "")
    rights = ActionRights(
        host.id,
        host.name,
        frozenset(section.enabled),
        keys,
        people,
        never_users=section.never_users,
        never_containers=section.never_containers,
        max_lease=parse_sum(section.max_lease) or 0,
        host_approvals=section.host_approvals,
    )
    state_dir = Path(section.state_dir)
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Held until this process ends: two of them would undo each other's actions.
        lock = open_private(state_dir / "lock", os.O_RDWR)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise BadInput(f"collector.actions.state_dir: {state_dir}: `lanner actions serve` runs already.") from None
    except OSError as error:
        raise BadInput(f"collector.actions.state_dir: {state_dir}: {error.strerror}.") from None
    try:
        journal = Journal(state_dir)
    except DatabaseUnusable as error:
        raise BadInput(f"collector.actions.state_dir: {error}.") from None
    try:
        server = ActionServer(Path(section.socket), admits_group=rights.is_signed, note=note)
    except OSError as error:
        raise BadInput(f"collector.actions.socket: {section.socket}: {error.strerror}.") from None
    offsets, naming = BootOffsets(), Naming(settings.collector.container_parents)

    def own_processes() -> frozenset[int]:
        return frozenset({os.getpid(), *(each.peer.pid for each in server.connections.values())})

    def own_containers() -> frozenset[str]:
        return frozenset(filter(None, (_container_of(pid, naming) for pid in own_processes())))

    executor = Executor(
        rights,
        _host_actions(settings, host, naming, offsets, own_processes),
        journal,
        boot=host.boot_id,
        own_containers=own_containers,
        name_of=lambda container_id: _name_of(container_id, settings, naming),
        keepers=LeaseKeepers(lambda text: note(text, "error")),
        note=note,
    )
    return ActionService(server, executor, journal, offsets, note)


def _host_actions(
    settings: Settings, host: HostFacts, naming: Naming, offsets: BootOffsets, own: Callable[[], frozenset[int]]
) -> Mapping[ActionType, HostAction]:
    section, container_of = settings.collector.actions, naming.container_of
    state_dir = Path(section.state_dir)
    try:
        isolation = NetworkIsolation(
            section.reachable,
            reach_dns=section.reach_dns,
            brokers=lambda: _brokers(settings),
            container_of=container_of,
        )
    except ActionRefused as error:
        raise BadInput(f"collector.actions.reachable: {error}.") from None
    recording = Path(settings.keep.folder) if settings.keep.size_mib else None
    return {
        "kill": Kill(offsets, naming, own),
        "freeze": Freeze(container_of),
        "isolate": isolation,
        "quarantine": Quarantine(state_dir, container_of),
        "lock": AccountLock(container_of),
        "collect": EvidenceCollection(
            state_dir, offsets, recording=recording, signer=_signer(settings, host), container_of=container_of
        ),
    }


def _signer(settings: Settings, host: HostFacts) -> Signer | None:
    """Return what signs as this host; None if it isn't one of a fleet yet."""
    if "collect" not in settings.collector.actions.enabled:
        return None
    from collector.publishing.identity import FILE_NAME
    from lanner.wiring.stages.collector import signing_identity

    path = Path(settings.collector.key_file or Path(settings.kafka.spool_dir, FILE_NAME))
    if not path.exists():
        return None
    identity = signing_identity(settings, host)
    return Signer(identity.key.public_key, identity.key.sign)


def _brokers(settings: Settings) -> Collection[tuple[str, int]]:
    """Return the addresses of the brokers of a fleet; none on a single host. Raises ActionRefused."""
    if not settings.collector.actions.processor_key_files:
        return ()
    found: set[tuple[str, int]] = set()
    for server in settings.kafka.bootstrap_servers.split(","):
        name, _, port = server.strip().rpartition(":")
        with suppress(OSError):
            for *_, address in socket.getaddrinfo(name.strip("[]"), port, type=socket.SOCK_STREAM):
                found.add((str(address[0]), int(address[1])))
    if not found:
        raise ActionRefused("no address of a broker is known, so it could not be released: kafka.bootstrap_servers")
    return found


def _name_of(container_id: str, settings: Settings, naming: Naming) -> str:
    """Return the name of a container, as its runtime states it; empty if it can't be found out in time."""
    from collector.containers.bundles import Bundles
    from collector.containers.lookup import KnownContainers
    from collector.containers.runtimes import runtimes

    section, deadline = settings.collector, time.monotonic() + _NAME_SECONDS
    lookups = runtimes(Path(section.docker_socket), Path(section.podman_socket), [*map(Path, section.cri_sockets)])
    with (
        suppress(ActionRefused, TargetGone, OSError),
        closing(container_processes(container_id, naming.container_of)) as found,
        closing(KnownContainers(lookups, Bundles())) as known,
    ):
        process = next(found, None)
        if process is None:
            return ""
        named = naming.container_of(parse_cgroup(process.read("cgroup")) or "")
        while named is not None and time.monotonic() < deadline:
            is_pending = known.is_pending(named, time.monotonic_ns(), process.pid)
            if name := known.facts(named).name:
                return name
            if not is_pending:
                break
            time.sleep(0.005)
            known.poll(time.monotonic_ns())
    return ""


def _container_of(pid: int, naming: Naming) -> str:
    named = naming.container_of(parse_cgroup(read_file(f"/proc/{pid}/cgroup", _MAX_CGROUP) or b"") or "")
    return "" if named is None else named.full_id


def _times() -> ActionTimes:
    return ActionTimes(time.clock_gettime_ns(time.CLOCK_BOOTTIME), time.time_ns())
