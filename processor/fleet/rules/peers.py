"""The reports that processors of a fleet exchange by a compacted topic: which version each of them evaluates.

Pure: messages and clock are passed in.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

LIVE_MS = 30_000
STALE_MS = 600_000
"""Milliseconds after which the key of a dead processor is deleted."""
MAX_PEERS = 10_000
MAX_REPORT_BYTES = 1 << 19
_MAX_ENTRIES = 1000
REPORTED = b"told"
"""The key of the newest version whose activation was reported."""


@dataclass(frozen=True, slots=True)
class Report:
    """The state of one processor."""

    worker: str
    active: str
    """The version that it evaluates."""
    ready: tuple[str, ...] = ()
    """Versions that its correlate stage supports."""
    since: int = 0
    """When that version became active, ns since the epoch."""
    rules: int = 0
    """The number of active rules."""
    waiting: str = ""
    """A version that is compiled but not active yet."""
    lagging: tuple[str, ...] = ()
    """Some of the hosts that it waits for."""
    refused: str = ""
    """The newest version that it refused, and why."""
    hosts: Mapping[str, int] = field(default_factory=dict)
    """Its live hosts, counted by the versions whose filters they apply."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Estimated time since its start to evaluate each of its most expensive rules alone, s."""

    def encoded(self) -> bytes:
        """Encode it as JSON."""
        return json.dumps(asdict(self), separators=(",", ":")).encode()


def read_report(value: bytes) -> Report | None:
    """Decode a report; None if it is invalid."""
    if len(value) > MAX_REPORT_BYTES:
        return None
    try:
        row: Any = json.loads(value)
        return Report(
            worker=str(row["worker"])[:200],
            active=str(row["active"])[:100],
            ready=tuple(str(each)[:100] for each in row["ready"][:_MAX_ENTRIES]),
            since=int(row["since"]),
            rules=int(row["rules"]),
            waiting=str(row["waiting"])[:100],
            lagging=tuple(str(each)[:200] for each in row["lagging"][:_MAX_ENTRIES]),
            refused=str(row["refused"])[:1000],
            hosts={str(name)[:1000]: int(number) for name, number in row["hosts"].items()},
            # Earlier releases don't report it.
            seconds={str(name)[:1000]: float(number) for name, number in row.get("seconds", {}).items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
        return None


class Peers:
    """The newest report of each processor."""

    def __init__(self) -> None:
        self._reports: dict[bytes, tuple[Report, int]] = {}
        self.reported = ""
        """The newest version whose activation was reported."""

    def take(self, key: bytes, value: bytes | None, stamp: int) -> None:
        """Apply one message of the topic. stamp: ms since the epoch."""
        if key == REPORTED:
            self.reported = (value or b"")[:_MAX_ENTRIES].decode("utf-8", "replace")
            return
        report = None if value is None else read_report(value)
        if report is None:
            self._reports.pop(key, None)
        elif key in self._reports or len(self._reports) < MAX_PEERS:
            self._reports[key] = (report, stamp)

    def live(self, now: int) -> list[Report]:
        """Return the reports of live processors. now: ms since the epoch."""
        return [report for report, stamp in self._reports.values() if now - stamp < LIVE_MS]

    def ages(self, now: int) -> list[tuple[Report, int]]:
        """Return all reports, each with its age in ms."""
        return [(report, now - stamp) for report, stamp in self._reports.values()]

    def stale(self, now: int) -> list[bytes]:
        """Return the keys of processors that have not reported for a long time."""
        return [key for key, (_, stamp) in self._reports.items() if now - stamp >= STALE_MS]


def not_ready(version: str, reports: Iterable[Report]) -> list[str]:
    """Return the processors whose correlate stage does not support a version yet."""
    return sorted(report.worker for report in reports if version not in report.ready)


def all_evaluate(version: str, reports: Iterable[Report]) -> bool:
    """Return whether a version is active on all processors."""
    return all(report.active == version for report in reports)
