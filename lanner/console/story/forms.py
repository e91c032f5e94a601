"""A story as JSON: bounded, and with every text made visible."""

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from foundation.text import printable
from lanner.console.store.rows import time_text
from lanner.console.story.reading import Story, StoryTree
from lanner.recorder.coverage import HostCoverage, sentences
from lanner.recorder.tree.family import Family, FamilyProcess, PlacedStep
from lanner.recorder.tree.peers import Join
from schemas.alert import Alert

MAX_PROCESSES = 300
MAX_STEPS = 60
"""Steps of one process, those with alerts always."""
MAX_UNPLACED = 50
MAX_CHARACTERS = 2_000_000
"""Limit on the texts of one answer."""
MAX_TEXT = 400
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


def story_json(story: Story, retention: str) -> dict[str, Any]:
    """Return a story as JSON. retention: how long events are retained, as a sentence."""
    left = [MAX_CHARACTERS]
    trees: list[dict[str, Any]] = []
    places: Mapping[int, int] = {}
    for tree in story.trees:
        chosen = _chosen(tree.family)
        # Joins name processes of the first tree.
        places = places or {index: place for place, index in enumerate(chosen)}
        trees.append(_tree(tree, chosen, story.alert.id, left) | {"join": _join(tree.join, places)})
    return {
        "since": _time(story.window.start),
        "until": _time(story.window.end),
        "is_found": story.is_found,
        "trees": trees,
        "left_out": story.left_out,
        "collected": [_coverage(host) for host in story.coverage],
        "remarks": [*map(printable, story.remarks), *_hints(story, retention)],
    }


def _hints(story: Story, retention: str) -> Iterator[str]:
    if not story.alert.host_id:
        yield "This alert is not about one host, so no events led to it."
        return
    if not story.coverage:
        host = printable(story.alert.hostname or story.alert.host_id)
        yield f"No events of {host} at this time are retained, so what happened is unknown. {retention}"
    elif not story.is_found:
        yield "The event of the alert is not among these: it was lost, or its batch is no longer retained."


def _join(join: Join | None, places: Mapping[int, int]) -> dict[str, Any] | None:
    if join is None:
        return None
    socket = join.socket
    return {
        "process": places.get(join.process, -1),
        "local": printable(f"{socket.local}:{socket.local_port}"),
        "remote": printable(f"{socket.remote}:{socket.remote_port}"),
    }


def _tree(tree: StoryTree, chosen: list[int], alert_id: str, left: list[int]) -> dict[str, Any]:
    found = tree.family
    places = {index: place for place, index in enumerate(chosen)}
    processes = [_process(found.processes[index], places, alert_id, left) for index in chosen]
    return {
        "host": printable(tree.hostname or tree.host_id),
        "leading": [f"{actor.name}({actor.pid})" for actor in found.leading],
        "processes": processes,
        "more_processes": len(found.processes) - len(chosen),
        "other_processes": found.other_processes,
        "other_events": found.other_events,
        "alerts": [alert_json(each) for each in found.unplaced[:MAX_UNPLACED] if each.id != alert_id],
        "more_alerts": max(len(found.unplaced) - MAX_UNPLACED, 0),
    }


def _chosen(found: Family) -> list[int]:
    """Return the processes to show: those with alerts and their ancestors, then the first others."""
    needed: set[int] = set()
    for index, process in enumerate(found.processes):
        if any(step.alerts or step.is_trigger for step in process.steps):
            at = index
            while at >= 0 and at not in needed:
                needed.add(at)
                at = found.processes[at].parent
            if len(needed) >= MAX_PROCESSES:
                break
    for index, process in enumerate(found.processes):
        if len(needed) >= MAX_PROCESSES:
            break
        if process.parent < 0 or process.parent in needed:
            needed.add(index)
    return sorted(needed)


def _process(process: FamilyProcess, places: Mapping[int, int], alert_id: str, left: list[int]) -> dict[str, Any]:
    actor, end = process.actor, process.end
    steps = _steps(process.steps, left)
    return {
        "parent": places.get(process.parent, -1),
        "name": _cut(actor.name, left),
        "pid": actor.pid,
        "user": _cut(actor.user, left),
        "container": _cut(actor.container, left),
        "enters_container": process.enters_container,
        "command": _cut(actor.command, left),
        "started": None if process.started is None else _time(process.started),
        "ended": None if end is None else _time(end.first),
        "exit": None if end is None else _cut(end.target, left),
        "alike": process.alike,
        "steps": [_step(step, alert_id, left) for step in steps],
        "more_steps": len(process.steps) - len(steps),
    }


def _steps(steps: list[PlacedStep], left: list[int]) -> list[PlacedStep]:
    marked = [step for step in steps if step.alerts or step.is_trigger][:MAX_STEPS]
    room = MAX_STEPS - len(marked) if left[0] > 0 else 0
    ids = set(map(id, marked)) | set(
        map(id, [step for step in steps if not step.alerts and not step.is_trigger][:room])
    )
    return [step for step in steps if id(step) in ids]


def _step(placed: PlacedStep, alert_id: str, left: list[int]) -> dict[str, Any]:
    step = placed.step
    return {
        "time": _time(step.first),
        "until": _time(step.last),
        "verb": step.verb,
        "target": _cut(step.target, left),
        "error": step.error,
        "count": step.count,
        "names": step.targets,
        "is_trigger": placed.is_trigger,
        "alerts": [alert_json(each) | {"is_this": each.id == alert_id} for each in placed.alerts],
    }


def alert_json(alert: Alert) -> dict[str, Any]:
    """Return what a link to an alert shows."""
    return {
        "id": alert.id,
        "time": _time(alert.time),
        "rule": printable(alert.rule),
        "priority": alert.priority,
        "output": printable(alert.output[:MAX_TEXT]),
    }


def _coverage(host: HostCoverage) -> dict[str, Any]:
    return {
        "host": printable(host.hostname),
        "events": host.events,
        "batches": host.batches,
        "lost": sum(host.lost.values()),
        "sentences": [printable(text) for text in sentences(host)],
    }


def _cut(text: str, left: list[int]) -> str:
    shown = text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}…"
    left[0] -= len(shown)
    return shown


def _time(nanoseconds: int) -> str:
    return time_text(nanoseconds // 1000)


_AROUND = 5 * 60_000_000_000
_SECOND = 1_000_000_000


def siem_address(template: str, alert: Alert) -> str:
    """Return the address that `console.siem_url` gives for an alert; values that it lacks are empty."""
    since, until = alert.time - _AROUND, alert.time + _AROUND
    values = {
        "id": alert.id,
        "rule": alert.rule,
        "priority": alert.priority,
        "host": alert.hostname or alert.host_id,
        "user": alert.event.get("user.name"),
        "container": alert.event.get("container.id"),
        "time": time_text(alert.time // 1000),
        "since": time_text(since // 1000),
        "until": time_text(until // 1000),
        "since_s": since // _SECOND,
        "until_s": until // _SECOND,
    }

    def encoded(name: str) -> str:
        value = values[name]
        return "" if value is None else quote(str(value), safe="", errors="replace")

    return _PLACEHOLDER.sub(lambda match: encoded(match[1]), template)
