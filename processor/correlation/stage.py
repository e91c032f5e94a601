"""The correlate stage without its transport: a correlator for each partition that this process owns.

Pure. A partition's memory is a table of blobs, which its changelog topic keeps; who takes a partition over reads it.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bus.errors.unavailable import fault_text
from processor.correlation.correlator import Correlator, StateChange
from processor.correlation.plan.split import Plan
from processor.correlation.state.evictions import eviction_notices
from processor.correlation.state.store import Key
from processor.correlation.wire import TICK_KEY, BadPreMatch, decode_pre_match
from schemas.alert import Alert

EVICTED = "evicted"


@dataclass(frozen=True, slots=True)
class StageResult:
    """What one message came to."""

    alerts: tuple[Alert, ...] = ()
    refused: str = ""
    """Why the message belongs with the dead letters; empty where it does not."""


class CorrelateStage:
    """The correlate stage of one process."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._correlators: dict[int, Correlator] = {}
        self._loaded: dict[int, int] = {}
        """By partition, the last offset that is in what was loaded, until a later message tells what time it is."""
        self._is_settled = False
        self._past: Counter[str] = Counter()
        """Counts of partitions that went to others."""
        self.lost = 0
        """Partitions whose memory was gone when they were taken over."""
        self._repaired = 0

    def begin(self, partition: int, blobs: Iterable[bytes], applied: int = -1) -> int:
        """Take a partition over with what is remembered of it.

        Args:
            partition: of the correlate topic.
            blobs: its table.
            applied: the last offset of the partition that is in it.

        Returns:
            How many blobs could not be read, such as those that another release wrote.
        """
        correlator = Correlator(self._plan)
        unreadable = 0
        for blob in blobs:
            try:
                correlator.load(blob)
            except Exception:  # noqa: BLE001  BadState, or a fault of ours: no blob may keep a partition from being owned
                unreadable += 1
        if self._is_settled:
            correlator.forget_unknown()
        self._correlators[partition] = correlator
        self._loaded[partition] = applied
        return unreadable

    def change_rules(self, plan: Plan, *, is_settled: bool) -> None:
        """Go on with other rules; unchanged stateful macros keep their windows.

        Args:
            plan: the other rules.
            is_settled: nobody in the fleet judges by others, so what these don't know is forgotten, on disk as well.
        """
        self._plan, self._is_settled = plan, is_settled
        for correlator in self._correlators.values():
            correlator.change_rules(plan, is_settled=is_settled)

    def drop_all(self) -> None:
        """Forget everything: the partitions are being shared out anew."""
        self._past = Counter(self.counts)
        self._correlators.clear()
        self._loaded.clear()

    @property
    def groups(self) -> int:
        """How many windows and counts of repeats are kept."""
        return sum(correlator.groups for correlator in list(self._correlators.values()))

    @property
    def counts(self) -> Mapping[str, int]:
        """What was not taken, by reason, and how many groups were evicted; from any thread."""
        found = Counter(self._past)
        for correlator in list(self._correlators.values()):
            found.update(correlator.counts)
            found[EVICTED] += correlator.evicted.total()
        return found

    def remembers(self, partition: int) -> bool:
        """Whether there is anything that a tick could end, or that is to be deleted from the table."""
        correlator = self._correlators.get(partition)
        return correlator is not None and (correlator.groups > 0 or correlator.has_changes)

    def take(self, partition: int, key: bytes | None, value: bytes | None, appended: int, offset: int) -> StageResult:
        """Apply one message of the correlate topic, in the order of its partition.

        Args:
            partition: of the topic.
            key: of the message.
            value: of the message; a tick's is not looked at, for whoever sent it may have a wrong clock.
            appended: when the broker appended the message, ns since the epoch: the clock.
            offset: of the message; it comes back as the cause of what it changes.
        """
        correlator = self._correlators[partition]
        correlator.note_cause(offset)
        if offset > self._loaded.get(partition, offset):
            # Messages up to here are older than what was loaded.
            del self._loaded[partition]
            self._repaired += correlator.repair(appended)
        found: list[Alert] = []
        try:
            found += correlator.tick(appended)
            if key != TICK_KEY:
                correlator.apply(decode_pre_match(value or b""), found)
            position = ("", partition, offset)
            for notice in eviction_notices(correlator.take_evicted(), appended, position):
                correlator.apply(notice, found)
        except BadPreMatch as error:
            return StageResult(tuple(found), f"not decodable: {error}")
        except Exception as error:  # noqa: BLE001  one message must not stop the others
            # What was found before the fault is counted as sent already.
            return StageResult(tuple(found), f"evaluation failed: {fault_text(error)}")
        return StageResult(tuple(found))

    def take_repaired(self) -> int:
        """Return how many windows and counts of repeats were repaired since the last call."""
        found, self._repaired = self._repaired, 0
        return found

    def everything(self, partition: int) -> dict[bytes, bytes]:
        """Give all that a partition's table has to hold."""
        return self._correlators[partition].everything()

    def take_changes(self, partition: int) -> list[StateChange]:
        """Return what a partition's table has to learn since the last call."""
        return self._correlators[partition].take_changes()

    def forget(self, partition: int, key: Key) -> None:
        """Forget an entry that the table refused, and begin it anew."""
        self._correlators[partition].forget(key)
