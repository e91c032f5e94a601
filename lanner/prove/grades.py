"""What became of each test: not run, no telemetry, telemetry, or an alert, and with which technique."""

from collections import Counter
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, Literal

from lanner.prove.atomics import AtomicTest
from notifier.formats.phrases import action
from schemas.alert import Alert
from schemas.catalog.attack import techniques

Status = Literal["not run", "no telemetry", "telemetry", "alert", "technique"]
"""From worst to best; `technique` is an alert whose rule names the technique of the test."""
STATUSES: tuple[Status, ...] = ("not run", "no telemetry", "telemetry", "alert", "technique")


@dataclass(frozen=True, slots=True)
class RaisedAlert:
    """An alert of a process of a test's guest."""

    rule: str
    priority: str
    techniques: tuple[str, ...]
    seconds: float
    """From the event in the kernel to the alert."""
    time: int
    """Time of the event, ns since the epoch."""
    headline: str
    process: str
    """As the alert's fields name it; empty if they don't, as with what follows."""
    parent: str
    file: str


def raised_alert(alert: Alert, seconds: float) -> RaisedAlert:
    """Return what a result has of an alert. seconds: how long after its event it came."""
    ids = tuple(each.id for each in techniques(alert.tags))

    def named(*fields: str) -> str:
        return next((found for field in fields if isinstance(found := alert.output_fields.get(field), str)), "")

    process, parent, file = named("proc.name"), named("proc.pname"), named("fd.name", "fs.path.name", "evt.path")
    return RaisedAlert(alert.rule, alert.priority, ids, seconds, alert.time, action(alert), process, parent, file)


@dataclass(frozen=True, slots=True)
class GuestRun:
    """Which guest a command ran in, and when: what its events and alerts are known by."""

    ticks: int
    """When the guest's first process started, clock ticks after boot."""
    since: int
    """When the command began, ns since the epoch; what is earlier prepared it."""
    entering: AbstractSet[int]
    """Pids of the programs by which commands entered the guest: what they do is not the guest's."""
    booted: bool
    """Whether systemd runs in it."""
    cgroup: str = ""
    """The name of its cgroup; another guest, of another run, may have started at the same time."""


@dataclass(slots=True)
class Seen:
    """What was seen of one test."""

    run: GuestRun | None = None
    """None if it is not in a guest."""
    events: int = 0
    alerts: list[RaisedAlert] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class TestResult:
    """The result of one test."""

    test: AtomicTest
    status: Status
    reason: str = ""
    """Why it did not run, or how its command ended."""
    events: int = 0
    """Events of its processes that a rule could match."""
    alerts: tuple[RaisedAlert, ...] = ()
    seconds: float = 0.0
    """How long its command ran."""
    run: GuestRun | None = None
    """None if it did not run in a guest."""


def graded(test: AtomicTest, reason: str, seen: Seen, of_nothing: int, seconds: float = 0.0) -> TestResult:
    """Return the result of a test that ran.

    Args:
        test: the test.
        reason: how its command ended; empty if well.
        seen: what was seen of it.
        of_nothing: the number of events of a command that does nothing.
        seconds: how long its command ran.
    """
    events, alerts = max(seen.events - of_nothing, 0), tuple(seen.alerts)
    if not alerts:
        status: Status = "telemetry" if events > 0 else "no telemetry"
    else:
        # A rule may name a technique by an id that ATT&CK has replaced since, and so may a test.
        own = [each.id for each in techniques((test.technique,))] or [test.technique]
        named = any(is_same_technique(own[0], each) for alert in alerts for each in alert.techniques)
        status = "technique" if named else "alert"
    return TestResult(test, status, reason, events, alerts, seconds, seen.run)


def is_same_technique(test: str, rule: str) -> bool:
    """Return whether a rule's technique is a test's, or one is the sub-technique of the other."""
    return test == rule or test.partition(".")[0] == rule or rule.partition(".")[0] == test


def counts(results: Iterable[TestResult]) -> dict[Status, int]:
    """Return the number of tests with each status, the best first."""
    found = Counter(result.status for result in results)
    return {status: found[status] for status in reversed(STATUSES)}


def by_technique(results: Iterable[TestResult]) -> dict[str, list[TestResult]]:
    """Return the results of each technique, in the order of techniques."""
    found: dict[str, list[TestResult]] = {}
    for result in sorted(results, key=lambda each: (each.test.technique, each.test.number)):
        found.setdefault(result.test.technique, []).append(result)
    return found


_COLORS: dict[Status, str] = {
    "not run": "#d9d9d9",
    "no telemetry": "#e6550d",
    "telemetry": "#fdae6b",
    "alert": "#a1d99b",
    "technique": "#31a354",
}


def navigator_layer(results: Iterable[TestResult]) -> dict[str, Any]:
    """Return a layer for MITRE's ATT&CK Navigator: the worst result of each technique's tests that ran.

    Source: the Navigator's layer format, version 4.5.
    """
    cells = []
    for technique, found in by_technique(results).items():
        ran: list[Status] = [each.status for each in found if each.status != "not run"]
        worst: Status = min(ran, key=STATUSES.index) if ran else "not run"
        comment = "; ".join(f"{each.test.name}: {each.status}" for each in found)
        score = STATUSES.index(worst)
        cells.append({"techniqueID": technique, "score": score, "color": _COLORS[worst], "comment": comment})
    return {
        "name": "Detected by Lanner",
        "domain": "enterprise-attack",
        "versions": {"layer": "4.5"},
        "techniques": cells,
        "legendItems": [{"label": status, "color": color} for status, color in _COLORS.items()],
    }
