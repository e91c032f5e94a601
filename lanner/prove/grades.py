"""What became of each test: not run, no telemetry, telemetry, or an alert, and with which technique."""

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Literal

from lanner.prove.atomics import AtomicTest

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
    run: GuestRun | None = None
    """None if it did not run."""


def graded(
    test: AtomicTest, reason: str, events: int, alerts: Sequence[RaisedAlert], run: GuestRun | None = None
) -> TestResult:
    """Return the result of a test that ran. events: their number beyond those of a command that does nothing."""
    if not alerts:
        return TestResult(test, "telemetry" if events > 0 else "no telemetry", reason, max(events, 0), run=run)
    named = any(is_same_technique(test.technique, each) for alert in alerts for each in alert.techniques)
    return TestResult(test, "technique" if named else "alert", reason, events, tuple(alerts), run)


def is_same_technique(test: str, rule: str) -> bool:
    """Return whether a rule's technique is a test's, or one is the sub-technique of the other."""
    return test == rule or test.partition(".")[0] == rule or rule.partition(".")[0] == test


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
    techniques = []
    for technique, found in by_technique(results).items():
        ran: list[Status] = [each.status for each in found if each.status != "not run"]
        worst: Status = min(ran, key=STATUSES.index) if ran else "not run"
        comment = "; ".join(f"{each.test.name}: {each.status}" for each in found)
        score = STATUSES.index(worst)
        techniques.append({"techniqueID": technique, "score": score, "color": _COLORS[worst], "comment": comment})
    return {
        "name": "Detected by Lanner",
        "domain": "enterprise-attack",
        "versions": {"layer": "4.5"},
        "techniques": techniques,
        "legendItems": [{"label": status, "color": color} for status, color in _COLORS.items()],
    }
