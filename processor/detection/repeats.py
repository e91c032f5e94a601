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
MAX_CONTAINERS = 4_096
_MERGED = ("/bin/", "/sbin/", "/lib")
"""Directories that are links to those of the same name in /usr."""
MAX_ROOTS = 8
"""Root directories of one host or container that are stored."""


@dataclass(frozen=True, slots=True)
class RepeatLimits:
    """How many alerts of one rule and host are sent in a period before further ones are counted."""

    identical_of_process: int = 5
    """Alerts with the same text and fields, of one process."""
    identical: int = 100
    """Alerts with the same text and fields, of any process."""
    of_process: int = 100
    """Alerts of one process, whatever their text."""
    under_root: int = 1
    """Alerts of one container for files below one directory that is the root of their processes (chroot), where the
    rule matches only the kernel's name of the file. A login in `chroot /host` opens hundreds."""
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
        self.roots = Roots()
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


class Roots:
    """Directories that are the root of processes (chroot), as the two names of their files reveal them.

    Such a process opens /etc/passwd, and the kernel's name is /host/etc/passwd. No link hides the file, but chroot can:
    to /etc, then read /shadow. So these alerts are folded, not dropped.
    """

    def __init__(self, *, max_containers: int = MAX_CONTAINERS) -> None:
        """Begin without any. max_places: hosts and containers of which roots are stored."""
        self._known: BoundedMap[tuple[str, str], tuple[str, ...]] = BoundedMap(max_containers)

    def find(self, container: tuple[str, str], requested: str, real: str) -> str:
        """Return the root directory below which a file was requested; "" if none is known.

        Args:
            container: host and container.
            requested: the name that the process gave the file.
            real: the kernel's name; "" if the rule matches the requested one.
        """
        if not real or not requested.startswith("/"):
            return ""
        known = self._known.get(container) or ()
        for root in known:
            # Links below the root lead elsewhere below it.
            if real.startswith(f"{root}/"):
                return root
        if not real.endswith(requested):
            return ""
        root = real.removesuffix(requested)
        if requested.startswith(_MERGED):
            root = root.removesuffix("/usr")
        if root:
            self._known.put(container, (root, *known)[:MAX_ROOTS])
        return root


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
        name: int = 0,
    ) -> Alert | None:
        """Return the alert of an event if it is to be sent; None where it was counted.

        Args:
            index: of the event.
            rule: its name.
            content: text and fields of the alert: what makes two alerts identical.
            made: id of the alert, and what makes it; it may raise.
            name: string index of the file's name that matched.
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
        keys = [
            (_key("identical", *of_rule, *content), limits.identical),
            (_key("identical of process", *of_rule, *actor, *content), limits.identical_of_process),
            (_key("of process", *of_rule, *actor), limits.of_process),
        ]
        container = batch.containers[process.container].full_id if process.container >= 0 else ""
        root = self._known.roots.find((batch.host_id, container), *_names(batch, index, name))
        if root:
            keys.append((_key("under root", *of_rule, container, root), limits.under_root))
        opening = (identity, time)
        windows = [self._known.window(key, self._now, limits.period, opening) for key, _ in keys]
        over = [window.sent >= most for window, (_, most) in zip(windows, keys, strict=True)]
        if not any(over):
            alert = make_alert()
            for window in windows:
                window.sent += 1
            return alert
        # Identical alerts are summed together, whatever their process.
        which = 3 if over[3:] == [True] else 0 if over[0] or over[1] else 2
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


def _names(batch: EventBatch, index: int, name: int) -> tuple[str, str]:
    """Return the requested name of an event's file, and the kernel's if it is the only one that matched."""
    requested, real = batch.columns["fd_name"][index], batch.columns["fd_realpath"][index]
    matched = real if name == real != requested else 0
    return batch.strings[requested] or "", (batch.strings[matched] or "") if matched else ""


def _key(*parts: object) -> bytes:
    return blake2b(repr(parts).encode("utf-8", "surrogatepass"), digest_size=16).digest()
