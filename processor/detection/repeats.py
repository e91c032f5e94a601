"""Decides which alerts are sent one by one, and which are only counted because they repeat others.

A process that does the same thing ten thousand times a second would drown the alerts of all others. So the first alerts
of a period are sent whole, and further identical ones are counted; the correlate stage sums the counts and
sends one summary for each period.

Pure: its clock is the time at which a batch arrived.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b

from processor.correlation.pre_match import EventOrigin, PreMatch, RepeatedAlert
from processor.correlation.suppress import retained
from schemas.alert import Alert, Value
from schemas.batch import EventBatch
from schemas.caching.bounded import BoundedMap

MAX_WINDOWS = 60_000
"""Counts that are stored, about 250 bytes each; the oldest makes room. Further repeats are sent in full again."""


@dataclass(frozen=True, slots=True)
class RepeatLimits:
    """How many alerts of one rule and host are sent in a period before further ones are counted."""

    identical_of_process: int = 5
    """Alerts with the same text and fields, of one process."""
    identical: int = 100
    """Alerts with the same text and fields, of any process."""
    of_process: int = 100
    """Alerts of one process, whatever their text."""
    period: int = 60_000_000_000
    """ns."""


@dataclass(slots=True)
class _Window:
    """Alerts that were sent in one period."""

    opened: int
    """ns."""
    first_id: str
    first: int
    """Event time of the alert that opened it, ns."""
    sent: int = 0


class RepeatedAlerts:
    """The alerts sent recently, over all batches."""

    def __init__(self, limits: RepeatLimits | None = RepeatLimits(), *, max_windows: int = MAX_WINDOWS) -> None:
        """Begin without any.

        Args:
            limits: how many alerts are sent; None to send all.
            max_windows: how many counts are stored.
        """
        self._limits = limits
        self._windows: BoundedMap[bytes, _Window] = BoundedMap(max_windows)
        self.counted: Counter[str] = Counter()
        """Alerts by rule that were counted instead of sent."""

    def __len__(self) -> int:
        return len(self._windows)

    def of_batch(self, batch: EventBatch) -> "BatchRepeats":
        """Return what decides about the alerts of one batch."""
        return BatchRepeats(self, batch, self._limits)

    def window(self, key: bytes, now: int, period: int, opening: tuple[str, int]) -> _Window:
        """Return the open window of a key; a new one if the last has ended or the clock was set back.

        Args:
            key: what the window is for.
            now: ns.
            period: ns.
            opening: id and event time of the alert that opens a new one.
        """
        window = self._windows.get(key)
        if window is None or not 0 <= now - window.opened < period:
            window = _Window(now, *opening)
            self._windows.put(key, window)
        return window


@dataclass(slots=True)
class _Count:
    """Alerts of one batch that repeat the same alert."""

    window: _Window
    alert: bytes
    """The first of them, under the id of the alert that was sent."""
    first: int
    """Event time of the first of them, ns."""
    count: int = 0
    last: int = 0


class BatchRepeats:
    """Decides about the alerts of one batch, and holds what is counted."""

    def __init__(self, known: RepeatedAlerts, batch: EventBatch, limits: RepeatLimits | None) -> None:
        """Begin. known: what was sent before; limits: None to send all."""
        self._known = known
        self._batch = batch
        self._limits = limits
        self._counts: dict[bytes, _Count] = {}
        self._now = batch.appended or batch.created

    def take(
        self,
        index: int,
        rule: str,
        content: tuple[str, Mapping[str, Value]],
        made: tuple[str, Callable[[], Alert]],
    ) -> Alert | None:
        """Return the alert of an event if it is to be sent; None where it was counted.

        Args:
            index: of the event.
            rule: its name.
            content: text and fields of the alert: what makes two alerts identical.
            made: id of the alert, and what makes it; it may raise.
        """
        limits = self._limits
        identity, make_alert = made
        if limits is None:
            return make_alert()
        batch = self._batch
        time = batch.columns["time"][index]
        process = batch.processes[batch.columns["process"][index]]
        of_rule = (batch.host_id, rule)
        actor = (process.pid, process.start_time)
        keys = (
            (_key("identical", *of_rule, *content), limits.identical),
            (_key("identical of process", *of_rule, *actor, *content), limits.identical_of_process),
            (_key("of process", *of_rule, *actor), limits.of_process),
        )
        opening = (identity, time)
        windows = [self._known.window(key, self._now, limits.period, opening) for key, _ in keys]
        over = [window.sent >= most for window, (_, most) in zip(windows, keys, strict=True)]
        if not any(over):
            alert = make_alert()
            for window in windows:
                window.sent += 1
            return alert
        # Identical alerts are summed together, whatever their process.
        which = 0 if over[0] or over[1] else 2
        self._count(keys[which][0], windows[which], index, rule, make_alert)
        return None

    def pre_matches(self) -> list[PreMatch]:
        """Return what the correlate stage has to sum."""
        batch = self._batch
        # One for each summary and batch: the batch's number shows whether it was applied before, however often the
        # batch is delivered.
        origin = EventOrigin(batch.host_id, batch.boot_id, batch.collector_start, batch.sequence, batch.first_index)
        return [
            PreMatch(
                origin,
                count.first,
                batch.hostname,
                (batch.host_id, key.hex()),
                appended=batch.appended,
                is_established=batch.is_established,
                repeated=RepeatedAlert(
                    count.window.first_id,
                    count.window.first,
                    count.count,
                    count.last,
                    self._limits.period if self._limits else 0,
                    count.alert,
                ),
            )
            for key, count in self._counts.items()
        ]

    def _count(self, key: bytes, window: _Window, index: int, rule: str, make_alert: Callable[[], Alert]) -> None:
        columns = self._batch.columns
        time, weight = columns["time"][index], 1 + columns["repeats"][index]
        count = self._counts.get(key)
        if count is None:
            alert = retained(replace(make_alert(), id=window.first_id))
            count = self._counts[key] = _Count(window, alert, time)
        count.count += weight
        count.last = max(count.last, time)
        self._known.counted[rule] += weight


def _key(*parts: object) -> bytes:
    return blake2b(repr(parts).encode("utf-8", "surrogatepass"), digest_size=16).digest()
