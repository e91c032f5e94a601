"""Decides which alerts are sent one by one, and which are only counted because they repeat others.

A process that does the same thing ten thousand times a second would drown the alerts of all others. So the first alerts
of a period are sent whole, and further ones are counted; the correlate stage sums the counts and sends one summary for
each period. Nobody's alerts are counted with those of another user or program, and a file that a rule names is never
counted with others. What else differs between counted alerts is in the summary: a decoy hides nothing.

Pure: its clock is the time at which a batch arrived.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b

from foundation.caches import BoundedMap
from processor.detection.view import EventView
from processor.matching.pre_match import PreMatch, RepeatedAlert, retained
from schemas.alert import Alert, Value
from schemas.distinct_values import merged, note, values_in, without_client_port

MAX_WINDOWS = 60_000
"""Counts that are stored, about 250 bytes each; the oldest makes room. Further repeats are sent in full again."""
_MAX_PROCESSES = 16_384
_MERGED = ("/bin/", "/sbin/", "/lib")
"""Directories that are links to those of the same name in /usr."""
Actor = tuple[object, ...]
"""Host, pid, start of the process, its last exec, user and login user: a program that it runs, and another user, are
others. A document has its source, cluster, host and user."""


@dataclass(frozen=True, slots=True)
class RepeatLimits:
    """How many alerts of one rule and host are sent in a period before further ones are counted."""

    identical_of_process: int = 5
    """Alerts with the same text, fields and files, of one process."""
    identical: int = 100
    """Alerts with the same text, fields and files, of all processes with one command line, user and container."""
    of_process: int = 100
    """Alerts of one process, whatever their text; about each file that the rule names, as many again."""
    under_root: int = 1
    """Alerts of one process for files below its root directory (chroot), where the rule matches only the kernel's name
    of the file; about each file that the rule names, as many again. A login in `chroot /host` opens hundreds."""
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

    def begin(self) -> "MessageRepeats":
        """Return what decides about the alerts of one batch, or of the documents of one message."""
        return MessageRepeats(self, self._limits)

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
    """Root directories of processes (chroot), as the two names of their files reveal them.

    Such a process opens /etc/passwd, and the kernel's name is /host/etc/passwd. No link hides the file, but chroot can:
    to /etc, then read /shadow. So these alerts are folded, not dropped.
    """

    def __init__(self) -> None:
        """Begin without any."""
        self._known: BoundedMap[Actor, str] = BoundedMap(_MAX_PROCESSES)

    def find(self, actor: Actor, requested: str, real: str) -> str:
        """Return the root directory below which a process requested a file; "" if none is known.

        Args:
            actor: the process. What another one opened says nothing about its root.
            requested: the name that the process gave the file.
            real: the kernel's name; "" if the rule matches the requested one.
        """
        if not real or not requested.startswith("/"):
            return ""
        known = self._known.get(actor)
        # Links below the root lead elsewhere below it.
        if known is not None and real.startswith(f"{known}/"):
            return known
        if not real.endswith(requested):
            return ""
        root = real.removesuffix(requested)
        if requested.startswith(_MERGED):
            root = root.removesuffix("/usr")
        if root:
            self._known.put(actor, root)
        return root


@dataclass(frozen=True, slots=True)
class FoundAlert:
    """An alert that is sent or counted."""

    id: str
    rule: str
    text: str
    fields: Mapping[str, Value]
    name: int
    """String index of the file's name that matched."""
    person: str
    """The person whose session it is; "" if nobody is known."""
    named: Collection[str]
    """The files that the rule names."""
    make: Callable[[], Alert]
    """Makes it; it may raise."""
    mask: Callable[[Mapping[str, Value]], Mapping[str, Value]]
    """Masks secrets in fields."""


@dataclass(slots=True)
class _Count:
    """Alerts of one batch or message that repeat the same alert."""

    view: EventView
    """The events of the first of them."""
    window: _Window
    alert: bytes
    """The first of them, under the id of the alert that was sent."""
    first: int
    """Event time of the first of them, ns."""
    count: int = 0
    last: int = 0
    values: dict[str, dict[str, int]] = field(default_factory=dict)


class MessageRepeats:
    """Decides about the alerts of one batch, or of the documents of one message, and stores the counts."""

    def __init__(self, known: RepeatedAlerts, limits: RepeatLimits | None) -> None:
        """Begin. known: what was sent before; limits: None to send all."""
        self._known = known
        self._limits = limits
        self._counts: dict[bytes, _Count] = {}

    def take(self, view: EventView, index: int, found: FoundAlert) -> Alert | None:
        """Return the alert of an event if it is to be sent; None where it was counted. index: of the event."""
        limits = self._limits
        if limits is None:
            return found.make()
        objects, matched = view.objects((index, found.name))
        requested, real = objects.get("fd.name", ""), objects.get("fd.realpath", "")
        if requested:
            objects["fd.name"] = without_client_port(requested)
        actor, who = view.actor(index)
        content = repr((found.rule, found.text, found.fields, objects, found.person))
        stated = found.fields.values()
        named = [each for each in (*stated, *objects.values()) if each in found.named] if found.named else []
        about = repr((found.rule, actor, named))
        keys = [
            (_key("identical", who, content), limits.identical),
            (_key("identical of process", repr(actor), content), limits.identical_of_process),
            (_key("of process", about), limits.of_process),
        ]
        is_by_real_name = matched == real != requested
        root = self._known.roots.find(actor, requested, real if is_by_real_name else "")
        if root:
            keys.append((_key("under root", about, root), limits.under_root))
        opening = (found.id, view.time(index))
        windows = [self._known.window(key, view.received, limits.period, opening) for key, _ in keys]
        over = [window.sent >= most for window, (_, most) in zip(windows, keys, strict=True)]
        if not any(over):
            alert = found.make()
            for window in windows:
                window.sent += 1
            return alert
        # Identical alerts are summed together, whatever their process.
        which = 3 if over[3:] == [True] else 0 if over[0] or over[1] else 2
        count = self._count(view, keys[which][0], windows[which], index, found)
        if which:
            others = {name: text for name, text in objects.items() if text not in stated}
            values = found.mask({**others, "session.user": found.person, **found.fields})
            note(count.values, values_in(values, view.weight(index)))
        return None

    def pre_matches(self) -> list[PreMatch]:
        """Return what the correlate stage has to sum."""
        # One for each summary and batch or message: its number shows whether it was applied before, however often it
        # is delivered.
        return [
            PreMatch(
                count.view.place,
                count.first,
                count.view.hostname,
                (count.view.place.host_id, key.hex()),
                appended=count.view.appended,
                is_established=count.view.is_established,
                repeated=RepeatedAlert(
                    count.window.first_id,
                    count.window.first,
                    count.count,
                    count.last,
                    self._limits.period if self._limits else 0,
                    count.alert,
                    merged({}, count.values),
                ),
            )
            for key, count in self._counts.items()
        ]

    def _count(self, view: EventView, key: bytes, window: _Window, index: int, found: FoundAlert) -> _Count:
        time, weight = view.time(index), view.weight(index)
        count = self._counts.get(key)
        if count is None:
            alert = retained(replace(found.make(), id=window.first_id))
            count = self._counts[key] = _Count(view, window, alert, time)
        count.count += weight
        count.last = max(count.last, time)
        self._known.counted[found.rule] += weight
        return count


def _key(*parts: str) -> bytes:
    return blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=16).digest()
