"""The correlate stage without Kafka: one correlator for each partition that this process owns.

Pure. The window state of a partition is stored in a changelog topic; the next owner of the partition reads it.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bus.connection import fault_text
from bus.messages import Headers
from foundation.interpreter import no_collections
from processor.correlation.correlator import Correlator
from processor.correlation.first_seen import ValueKey
from processor.correlation.groups import Key
from processor.correlation.state import StateChange, everything, room_notices, take_changes
from processor.matching.wire import TICK_KEY, BadPreMatch, decode_pre_match, message_of
from processor.splitting import Plan
from schemas.alert import Alert

EVICTED = "evicted"


@dataclass(frozen=True, slots=True)
class StageResult:
    """The result of one message."""

    alerts: tuple[Alert, ...] = ()
    relayed: tuple[tuple[bytes, bytes], ...] = ()
    """Keys and values of messages for other groups."""
    sent: tuple[tuple[str, bytes, bytes, Headers], ...] = ()
    """Topics, keys, values and headers of other messages."""
    refused: str = ""
    """Why the message becomes a dead letter; empty if it does not."""


class CorrelateStage:
    """The correlate stage of one process."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._correlators: dict[int, Correlator] = {}
        self._loaded: dict[int, int] = {}
        """By partition, the last offset in the loaded state, until a later message sets the clock."""
        self._is_settled = False
        self._past: Counter[str] = Counter()
        self._past_suppressed: Counter[str] = Counter()
        """Counts of partitions that were reassigned, to other processes or to this one."""
        self.lost = 0
        """Partitions whose window state was lost when they were taken over."""
        self._repaired = 0

    def begin(self, partition: int, blobs: Iterable[bytes], applied: int = -1) -> int:
        """Take over a partition with the values of its table; return how many could not be read, as of another release.

        applied: the last offset that is applied in them.
        """
        correlator = Correlator(self._plan)
        unreadable = 0
        with no_collections():
            for blob in blobs:
                try:
                    correlator.state.load(blob)
                except Exception:  # noqa: BLE001  BadState or a bug: no value may block the takeover
                    unreadable += 1
        if self._is_settled:
            correlator.forget_unknown()
        self._correlators[partition] = correlator
        self._loaded[partition] = applied
        return unreadable

    def change_rules(self, plan: Plan, *, is_settled: bool) -> None:
        """Evaluate other rules from now on; unchanged stateful macros keep their windows.

        is_settled: no other rules are active in the fleet, so unknown state is dropped, in the table too.
        """
        self._plan, self._is_settled = plan, is_settled
        for correlator in self._correlators.values():
            correlator.change_rules(plan, is_settled=is_settled)

    def drop_all(self) -> None:
        """Drop everything: partitions are being reassigned."""
        self._past, self._past_suppressed = Counter(self.counts), Counter(self.suppressed)
        self._correlators.clear()
        self._loaded.clear()

    @property
    def groups(self) -> int:
        """The number of windows and counts of repeats."""
        return sum(len(correlator.store) for correlator in list(self._correlators.values()))

    @property
    def known_values(self) -> int:
        """The number of values that first_seen knows."""
        return sum(len(correlator.sightings) for correlator in list(self._correlators.values()))

    @property
    def counts(self) -> Mapping[str, int]:
        """Events that were rejected, by reason, and the number of evicted groups; from any thread."""
        found = Counter(self._past)
        for correlator in list(self._correlators.values()):
            found.update(correlator.counts)
            found[EVICTED] += correlator.state.evicted
        return found

    @property
    def suppressed(self) -> Mapping[str, int]:
        """Matches by rule that were counted instead of sent; from any thread."""
        found = Counter(self._past_suppressed)
        for correlator in list(self._correlators.values()):
            found.update(dict(correlator.suppressed))
        return found

    def remembers(self, partition: int) -> bool:
        """Return True if a tick could close anything, or changes are not written yet."""
        correlator = self._correlators.get(partition)
        return correlator is not None and correlator.state.needs_time

    def take(self, partition: int, key: bytes | None, value: bytes | None, appended: int, offset: int) -> StageResult:
        """Apply one message of the correlate topic, in the order of its partition.

        Args:
            partition: of the topic.
            key: of the message.
            value: of the message; a tick's is ignored, since its sender may have a wrong clock.
            appended: when the broker appended the message, ns since the epoch: the clock.
            offset: of the message; returned as the cause of its changes.
        """
        correlator = self._correlators[partition]
        correlator.state.set_cause(offset)
        if offset > self._loaded.get(partition, offset):
            # Messages up to here are older than the loaded state.
            del self._loaded[partition]
            self._repaired += correlator.repair(appended)
        found: list[Alert] = []
        refused = ""
        try:
            found += correlator.tick(appended)
            if key != TICK_KEY:
                correlator.apply(decode_pre_match(value or b""), found)
            position = ("", partition, offset)
            for notice in room_notices(correlator.state, appended, position):
                correlator.apply(notice, found)
        except BadPreMatch as error:
            refused = f"not decodable: {error}"
        except Exception as error:  # noqa: BLE001  one message must not stop the others
            refused = f"evaluation failed: {fault_text(error)}"
        # Alerts that were found before an error count as sent.
        return StageResult(tuple(found), tuple(map(message_of, correlator.take_relayed())), refused=refused)

    def take_repaired(self) -> int:
        """Return the number of windows and counts of repeats repaired since the last call."""
        found, self._repaired = self._repaired, 0
        return found

    def everything(self, partition: int) -> dict[bytes, bytes]:
        """Return the whole content of a partition's table."""
        return everything(self._correlators[partition].state)

    def take_changes(self, partition: int) -> list[StateChange]:
        """Return the changes to write to a partition's table since the last call."""
        correlator = self._correlators[partition]
        return take_changes(correlator.state, correlator.macros)

    def forget(self, partition: int, key: Key | ValueKey) -> None:
        """Drop an entry that the table refused."""
        self._correlators[partition].state.drop(key)
