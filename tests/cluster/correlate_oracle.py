"""A slow oracle of correlation: computes the expected alerts of stateful rules from all correlated events.

It reads the topic by its schema and imports nothing from the processor.
"""

import io
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import fastavro

from bus.clients.readers import TopicReader
from bus.connection import Connection
from bus.topics import CORRELATE
from tests.cluster.actions import RULES, Alerts
from tests.unit.processor.correlation.oracles import event_count

EVENTS, VALUES, MATCHES, LEARNING = 3, 5, 3, 1
STATEFUL = ("Many actions", "Many hosts", "New round", "Busy host")
WITH_MEMORY = f"""{RULES}
- macro: many_actions
  condition: evt.type = openat and fd.name startswith /marked/
  correlation: {{type: event_count, group-by: [fd.nameraw], timespan: 6h, condition: {{gte: {EVENTS}}}}}
- macro: many_hosts
  condition: evt.type = openat and fd.name startswith /marked/
  correlation:
    type: value_count
    group-by: [fd.nameraw]
    timespan: 6h
    condition: {{field: evt.hostname, gte: {VALUES}}}
- macro: new_round
  condition: evt.type = openat and fd.name startswith /marked/
  correlation: {{type: first_seen, field: fd.nameraw, lookback: 6h, learning: {LEARNING}s}}
- macro: busy_host
  correlation:
    type: event_count
    rules: [Many actions]
    group-by: [evt.hostname]
    timespan: 6h
    condition: {{gte: {MATCHES}}}
- rule: Many actions
  desc: The third action of a group that all hosts share.
  condition: many_actions
  output: "%correlation.count actions, the last %fd.name"
  priority: NOTICE
- rule: Many hosts
  desc: The fifth host that acts in a group.
  condition: many_hosts
  output: "%correlation.count hosts, the last %fd.name"
  priority: NOTICE
- rule: Busy host
  desc: The third action of a host that completes a group that all hosts share.
  condition: busy_host
  output: "%correlation.count matches, the last %fd.name"
  priority: NOTICE
- rule: New round
  desc: The first action of a round in the fleet.
  condition: new_round
  output: "%correlation.values begun by %fd.name"
  priority: NOTICE
"""
_SCHEMA = fastavro.parse_schema(
    json.loads((Path(__file__).parents[2] / "schemas" / "pre_match.avsc").read_text(encoding="utf-8"))
)
_HEADER = 10
_SPAN = 6 * 3600 * 10**9


class Everything:
    """All actions by group, in the order of their topic, without duplicates."""

    def __init__(self, connection: Connection) -> None:
        reader = TopicReader(connection, connection.topic(CORRELATE), whole=True)
        seen = set()
        self.groups: dict[bytes, list[dict[str, Any]]] = {}
        self.fleet: list[dict[str, Any]] = []
        """All actions once more, as one group."""
        self.relayed: dict[bytes, list[dict[str, Any]]] = {}
        """By host, its actions that groups relayed because they match *Many actions*."""
        while not reader.has_read_all:
            message = reader.poll(0.2)
            if message is None or message.key() == b"tick":
                continue
            row: Any = fastavro.schemaless_reader(io.BytesIO((message.value() or b"")[_HEADER:]), _SCHEMA, None)
            if row["notice"] is not None:
                continue
            for event in (
                *({**row, **each, "origin": row["origin"] | {"index": each["index"]}} for each in row["earlier"]),
                row,
            ):
                # Two macros have the same group, so one message feeds them both.
                if (identity := (event["via"], *event["origin"].values(), *event["group"])) in seen:
                    continue
                seen.add(identity)
                if event["via"]:
                    self.relayed.setdefault(event["group"][0], []).append(event)
                else:
                    (self.groups.setdefault(event["group"][0], []) if event["group"] else self.fleet).append(event)
        reader.close()

    def owed(self) -> dict[tuple[str, str], str]:
        """Return, by rule and group, the output of the expected alert: a window lasts longer than any test."""
        found = {}
        for group, rows in self.groups.items():
            hosts = [row["hostname"].decode() for row in rows]
            if len(hosts) >= EVENTS:
                found["Many actions", group.decode()] = f"{EVENTS} actions, the last /marked/{_mark(rows[EVENTS - 1])}"
            full = next((index for index in range(len(hosts)) if len(set(hosts[: index + 1])) == VALUES), None)
            if full is not None:
                found["Many hosts", group.decode()] = f"{VALUES} hosts, the last /marked/{_mark(rows[full])}"
        for host, rows in self.relayed.items():
            if len(rows) >= MATCHES:
                found["Busy host", host.decode()] = f"{MATCHES} matches, the last /marked/{_mark(rows[MATCHES - 1])}"
        return found | self._rounds()

    def wrongly_relayed(self) -> set[str]:
        """Return the actions that groups should have relayed and didn't, or the other way around."""
        owed = {mark for rows in self.groups.values() for mark in _matching(rows)}
        return owed ^ {_mark(row) for rows in self.relayed.values() for row in rows}

    def _rounds(self) -> dict[tuple[str, str], str]:
        """Return the alerts of rounds that began after the learning period."""
        found, known, begun = {}, set(), 1 << 63
        for row in self.fleet:
            (value,) = {feed["value"].decode() for feed in row["feeds"]}
            begun = min(begun, row["appended"])
            if value not in known and row["appended"] - begun >= LEARNING * 1_000_000_000:
                found["New round", value] = f"{value} begun by /marked/{_mark(row)}"
            known.add(value)
        return found

    def count(self) -> int:
        """Return the number of actions."""
        return sum(map(len, self.groups.values()))


def _matching(rows: list[dict[str, Any]]) -> list[str]:
    """Return the actions of a group that match *Many actions*, unless newer ones overtook them."""
    keys = [
        (min(row["time"], row["appended"]), row["origin"]["sequence"], int.from_bytes(row["hostname"])) for row in rows
    ]
    answers = event_count([(key, 1) for key in keys], EVENTS, _SPAN, _SPAN)
    return [_mark(row) for row, answer in zip(rows, answers, strict=True) if isinstance(answer, int)]


def _mark(row: dict[str, Any]) -> str:
    return f"{row['hostname'].decode()}-{row['origin']['sequence']}"


def wait_for_owed(connection: Connection, alerts: Alerts, timeout: float) -> None:
    """Read alerts until all expected alerts of windows have arrived; fail if none comes for timeout seconds."""
    read, deadline = -1, 0.0
    while _wrong(Everything(connection), alerts):
        if len(alerts.raw) > read:
            read, deadline = len(alerts.raw), time.monotonic() + timeout
        assert time.monotonic() < deadline, "windows did not fire in time"
        alerts.read(0.5)


def assert_owed(connection: Connection, actions: int, alerts: Alerts) -> int:
    """Assert that windows fired as expected, each with one id, and saw every action; return the repeats."""
    everything = Everything(connection)
    assert everything.count() == actions
    wrong = _wrong(everything, alerts)
    assert not wrong, f"{len(wrong)}: {list(wrong.items())[:6]}"
    return sum(sum(each.values()) - 1 for each in _reported(alerts).values())


def _reported(alerts: Alerts) -> dict[tuple[str, str], Counter[tuple[str, str]]]:
    reported: dict[tuple[str, str], Counter[tuple[str, str]]] = {}
    for alert in alerts.raw:
        if alert.rule in STATEFUL:
            group = alert.hostname if alert.rule == "Busy host" else str(alert.event["fd.nameraw"])
            counts = reported.setdefault((alert.rule, group), Counter())
            # The container follows it.
            counts[alert.output.split(" container_id=")[0], alert.id] += 1
    return reported


def _wrong(everything: Everything, alerts: Alerts) -> dict[tuple[str, str], tuple[list[str] | None, list[str] | None]]:
    """Return the found and the expected alerts where they differ, and actions that were relayed wrongly."""
    found = {key: sorted(text for text, _ in each) for key, each in _reported(alerts).items()}
    owed = {key: [text] for key, text in everything.owed().items()}
    relayed = {("relayed", mark): (None, None) for mark in everything.wrongly_relayed()}
    return relayed | {key: (found.get(key), owed.get(key)) for key in found | owed if found.get(key) != owed.get(key)}
