"""What the processors of a fleet tell each other by a compacted topic: who judges by which version.

Pure: messages and clock are given.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

LIVE_MS = 30_000
STALE_MS = 600_000
"""After so long the key of a processor that died is deleted."""
TOLD = b"told"
"""The key that holds the newest version whose change was told."""


@dataclass(frozen=True, slots=True)
class Report:
    """What one processor says of itself."""

    worker: str
    active: str
    """The version that it judges by."""
    ready: tuple[str, ...] = ()
    """Versions that its correlation understands."""
    since: int = 0
    """Since when it judges by it, ns since the epoch."""
    rules: int = 0
    """How many rules are in force."""
    waiting: str = ""
    """A version that it has compiled and does not judge by yet."""
    lagging: tuple[str, ...] = ()
    """Some of the hosts that it waits for."""
    refused: str = ""
    """The newest version that it did not take, and why."""
    hosts: Mapping[str, int] = field(default_factory=dict)
    """Its live hosts, counted by what they say they send."""

    def encoded(self) -> bytes:
        """Give it as JSON."""
        return json.dumps(asdict(self), separators=(",", ":")).encode()


def read_report(value: bytes) -> Report | None:
    """Read a report; None where it is none."""
    try:
        row: Any = json.loads(value)
        return Report(
            worker=str(row["worker"])[:200],
            active=str(row["active"])[:100],
            ready=tuple(str(each)[:100] for each in row["ready"]),
            since=int(row["since"]),
            rules=int(row["rules"]),
            waiting=str(row["waiting"])[:100],
            lagging=tuple(str(each)[:200] for each in row["lagging"]),
            refused=str(row["refused"])[:1000],
            hosts={str(name)[:1000]: int(number) for name, number in row["hosts"].items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


class Peers:
    """The newest report of each processor."""

    def __init__(self) -> None:
        self._reports: dict[bytes, tuple[Report, int]] = {}
        self.told = ""
        """The newest version whose change was told."""

    def take(self, key: bytes, value: bytes | None, stamp: int) -> None:
        """Take one message of the topic. stamp: ms since the epoch."""
        if key == TOLD:
            self.told = (value or b"").decode("utf-8", "replace")
            return
        report = None if value is None else read_report(value)
        if report is None:
            self._reports.pop(key, None)
        else:
            self._reports[key] = (report, stamp)

    def live(self, now: int) -> list[Report]:
        """Give the reports of processors that are alive. now: ms since the epoch."""
        return [report for report, stamp in self._reports.values() if now - stamp < LIVE_MS]

    def ages(self, now: int) -> list[tuple[Report, int]]:
        """Give all reports, each with its age in ms."""
        return [(report, now - stamp) for report, stamp in self._reports.values()]

    def stale(self, now: int) -> list[bytes]:
        """Give the keys of processors that have been silent for long."""
        return [key for key, (_, stamp) in self._reports.items() if now - stamp >= STALE_MS]


def not_ready(version: str, reports: Iterable[Report]) -> list[str]:
    """Name the processors whose correlation would not understand what a version's detection sends."""
    return sorted(report.worker for report in reports if version not in report.ready)


def all_judge_by(version: str, reports: Iterable[Report]) -> bool:
    """Tell whether all processors judge by a version."""
    return all(report.active == version for report in reports)
