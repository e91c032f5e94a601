"""A fleet's hosts and rules, read from its topics."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from confluent_kafka import Message
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from bus.clients.compacted import CompactedTopicReader
from bus.connection import BusUnavailable, Connection
from bus.published_rules import CURRENT, VerifiedRules, accept
from bus.topics import PROCESSORS, RULES
from foundation.text import count_of
from lanner.console.fleet.ports import HostsReading, KnownRules, RuleFiles, RulesVersion, facts_of
from lanner.errors import BadInput
from lanner.recorder.host_tally import FleetHost
from lanner.recorder.hosts import find_hosts, live_hosts
from lanner.ruleset.active import ActiveRules
from processor.fleet.rules.peers import Peers
from schemas.catalog.priorities import BY_NAME, Priority
from schemas.published_rules import BadRules, PublishedRules

MAX_HOSTS = 100_000
LOOK_SECONDS = 20.0
"""Time between two looks, or ten times as long as a look takes."""
REQUESTED_SECONDS = 600.0
"""Hosts are read for so long after somebody looked at them."""
_RETRY_SECONDS = 5.0


class HostsOfTopic:
    """Reads the hosts on a thread of its own."""

    def __init__(self, connection: Connection) -> None:
        """Take the connection; nothing is read before somebody asks."""
        self._connection = connection
        self._known = HostsReading()
        self._hosts: dict[str, FleetHost] = {}
        self._until = 0.0
        self._requested = threading.Event()
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, on_change: Callable[[], None]) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, args=(on_change,), name="console-hosts", daemon=True)
        self._thread.start()

    def hosts(self) -> HostsReading:
        """Return the hosts, and see to it that they are read again."""
        self._until = time.monotonic() + REQUESTED_SECONDS
        self._requested.set()
        return self._known

    def stop(self) -> None:
        """Stop the thread."""
        self._end.set()
        self._requested.set()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def _run(self, on_change: Callable[[], None]) -> None:
        while True:
            self._requested.clear()
            if self._end.is_set():
                return
            if time.monotonic() > self._until:
                self._requested.wait()
                continue
            began = time.monotonic()
            try:
                self._look()
            except BusUnavailable as error:
                self._known = HostsReading(self._known.hosts, self._known.read_at, error=error.reason)
            on_change()
            pause = _RETRY_SECONDS if self._known.error else max(LOOK_SECONDS, 10 * (time.monotonic() - began))
            self._end.wait(pause)

    def _look(self) -> None:
        now = time.time_ns() // 1_000_000
        if self._known.read_at:
            self._take(live_hosts(self._connection, now, self._end.is_set))
        else:
            self._take(find_hosts(self._connection, now, self._end.is_set, lambda _: None))
        self._known = HostsReading(list(self._hosts.values()), now)

    def _take(self, found: Iterable[FleetHost]) -> None:
        for host in found:
            before = self._hosts.pop(host.id, None)
            self._hosts[host.id] = host if before is None else host.after(before)
        while len(self._hosts) > MAX_HOSTS:
            # Those that were not seen for the longest time come first.
            del self._hosts[next(iter(self._hosts))]


_POLL_SECONDS = 0.5
_UNPUBLISHED = (
    "No version is published: each processor uses its own rule files. These are the rule files of the console's host."
)


class PublishedRulesFollower:
    """Follows the topics of rules and of processors on a thread of its own."""

    def __init__(
        self,
        connection: Connection,
        keys: Sequence[Ed25519PublicKey],
        load: Callable[[PublishedRules], ActiveRules],
        own: Callable[[], ActiveRules],
        floor: Priority,
    ) -> None:
        """Create one that is not started. keys: those whose signatures are accepted.

        load: loads a version; own: returns the rule files of this host, which are shown if no version is published,
        without rules of a lower priority than floor. Both raise BadInput.
        """
        self._connection = connection
        self._own = RuleFiles(floor, own, _UNPUBLISHED)
        self._keys = keys
        self._load = load
        self._known = KnownRules(origin="The rules are being read.")
        self._peers = Peers()
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, on_change: Callable[[], None]) -> None:
        """Start the thread."""
        reader = CompactedTopicReader(self._connection, [RULES, PROCESSORS])
        self._thread = threading.Thread(target=self._run, args=(reader, on_change), name="console-rules", daemon=True)
        self._thread.start()

    def rules(self) -> KnownRules:
        """Return the rules that were read last, with the costs that live processors report."""
        with self._lock:
            reports = self._peers.live(time.time_ns() // 1_000_000)
        seconds: defaultdict[str, float] = defaultdict(float)
        for report in reports:
            for name, number in report.seconds.items():
                seconds[name] += number
        if not reports:
            costs = "No processor has reported within 30 s, so costs are not known."
        elif not seconds:
            costs = "The processors have not measured any rule yet."
        else:
            costs = f"Estimated from samples by {count_of(len(reports), 'processor')}, since their start."
        return replace(self._known, seconds=dict(seconds), costs=costs)

    def stop(self) -> None:
        """Stop the thread."""
        self._end.set()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def _run(self, reader: CompactedTopicReader, on_change: Callable[[], None]) -> None:
        newest: Message | None = None
        is_new = True
        try:
            while not self._end.is_set():
                taken = reader.poll(_POLL_SECONDS)
                if taken is None:
                    # Only the newest of several versions is loaded.
                    if is_new and reader.has_read_all:
                        is_new = False
                        self._known = self._loaded(newest)
                        on_change()
                    continue
                topic, message = taken
                if topic == PROCESSORS:
                    with self._lock:
                        self._peers.take(message.key() or b"", message.value(), message.timestamp()[1])
                elif message.key() == CURRENT:
                    newest, is_new = (message if message.value() else None), True
        finally:
            reader.close()

    def _loaded(self, message: Message | None) -> KnownRules:
        if message is None:
            return self._own.known()
        try:
            found = accept(message, self._keys)
            active = self._load(found.rules)
        except (BadRules, BadInput) as error:
            return KnownRules(problem=f"The published version can't be used: {error}")
        floor = BY_NAME[found.rules.priority]
        return KnownRules(facts_of(active, floor), "The version that is published.", _version(found))


def _version(found: VerifiedRules) -> RulesVersion:
    rules = found.rules
    facts = (rules.publisher, rules.host, rules.comment)
    return RulesVersion(rules.version, rules.published, *facts, found.signed_by, rules.difference)


class FleetTopics:
    """Reads them from topics."""

    def __init__(self, connection: Connection, rules: PublishedRulesFollower) -> None:
        """Take what follows the rules; nothing is started."""
        hosts = HostsOfTopic(connection)
        self._readers = hosts, rules
        self.hosts, self.rules = hosts.hosts, rules.rules

    def start(self, on_change: Callable[[], None]) -> None:
        """Begin to read."""
        for reader in self._readers:
            reader.start(on_change)

    def stop(self) -> None:
        """Stop reading."""
        for reader in self._readers:
            reader.stop()
