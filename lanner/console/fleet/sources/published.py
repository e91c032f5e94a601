"""A fleet's rules: the published version, and what processors report about costs."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace

from confluent_kafka import Message

from bus.clients.compacted import CompactedTopicReader
from bus.connection import Connection
from bus.messages.published_rules import CURRENT, VerifiedRules, accept
from bus.topics import PROCESSORS, RULES
from lanner.console.fleet.ports import KnownRules, RulesVersion
from lanner.console.fleet.sources.facts import RuleFiles, facts_of
from lanner.errors import BadInput
from lanner.ruleset.load import ActiveRules
from lanner.ruleset.published.version import active_of_published, public_keys
from lanner.settings import Settings
from processor.fleet.rules.peers import Peers
from schemas.catalogue.priorities import BY_NAME
from schemas.records.published_rules import BadRules
from schemas.text.counts import count_of

_POLL_SECONDS = 0.5
_UNPUBLISHED = (
    "No version is published: each processor uses its own rule files. These are the rule files of the console's host."
)


class PublishedRulesFollower:
    """Follows the topics of rules and of processors on a thread of its own."""

    def __init__(self, settings: Settings, connection: Connection, own: Callable[[], ActiveRules]) -> None:
        """Create one that is not started.

        Args:
            settings: keys, and the priority of rule files.
            connection: the broker.
            own: returns the rule files of this host, which are shown if no version is published; raises BadInput.

        Raises:
            BadInput: a key can't be read.
        """
        self._settings = settings
        self._connection = connection
        self._own = RuleFiles(settings, own, _UNPUBLISHED)
        self._keys = public_keys(settings)
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
            active = active_of_published(self._settings, found.rules)
        except (BadRules, BadInput) as error:
            return KnownRules(problem=f"The published version can't be used: {error}")
        floor = BY_NAME[found.rules.priority]
        return KnownRules(facts_of(active, floor), "The version that is published.", _version(found))


def _version(found: VerifiedRules) -> RulesVersion:
    rules = found.rules
    facts = (rules.publisher, rules.host, rules.comment)
    return RulesVersion(rules.version, rules.published, *facts, found.signed_by, rules.difference)
