"""A story as JSON: bounded, and with every text made visible."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from typing import Any
from urllib.parse import quote

from foundation.text import printable
from lanner.console.store.rows import time_text
from lanner.console.story.reading import Story, StoryTree
from lanner.recorder.coverage import HostCoverage, sentences
from lanner.recorder.tree.family import Family, FamilyProcess, PlacedStep
from lanner.recorder.tree.peers import Join
from schemas.alert import Alert
from schemas.catalog.priorities import SEVERITY

MAX_PROCESSES = 300
MAX_STEPS = 60
"""Steps of one process, those with alerts always."""
MAX_LISTED = 200
"""Alerts listed beside a tree, those nearest to the alert; their groups have all counts."""
UNFOLDED_LINES = 40
"""Lines of a tree that are seen at first, about: what the alert's process did, its ancestors, and what is nearest."""
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
        time = story.alert.time if tree.join is None else tree.join.time
        seen = unfolded(tree.family, chosen, time)
        listed = [each for each in tree.family.unplaced if each.id != story.alert.id]
        trees.append(
            _tree(tree, chosen, seen, story.alert.id, left)
            | {"join": _join(tree.join, places), "alerts": _alert_groups(listed, time)}
        )
    return {
        "time": _time(story.alert.time),
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


def _tree(
    tree: StoryTree, chosen: list[int], seen: Mapping[int, set[int]], alert_id: str, left: list[int]
) -> dict[str, Any]:
    found = tree.family
    places = {index: place for place, index in enumerate(chosen)}
    processes = [_process(found.processes[index], places, seen.get(index), alert_id, left) for index in chosen]
    return {
        "host": printable(tree.hostname or tree.host_id),
        "leading": [f"{actor.name}({actor.pid})" for actor in found.leading],
        "processes": processes,
        "more_processes": len(found.processes) - len(chosen),
        "other_processes": found.other_processes,
        "other_events": found.other_events,
    }


def _alert_groups(alerts: Sequence[Alert], time: int) -> list[dict[str, Any]]:
    """Return alerts by rule, the most severe first; those nearest to a time are listed."""
    near = {id(each) for each in sorted(alerts, key=lambda each: abs(each.time - time))[:MAX_LISTED]}
    groups: dict[tuple[str, str], list[Alert]] = {}
    for each in alerts:
        groups.setdefault((each.priority, each.rule), []).append(each)
    ranked = sorted(groups.items(), key=lambda item: (SEVERITY.get(item[0][0], len(SEVERITY)), -len(item[1]), item[0]))
    return [
        {
            "rule": printable(rule),
            "priority": priority,
            "count": len(own),
            "alerts": [alert_json(each) for each in own if id(each) in near],
        }
        for (priority, rule), own in ranked[:MAX_LISTED]
    ]


def unfolded(found: Family, chosen: Sequence[int], time: int) -> dict[int, set[int]]:
    """Return the processes to show at first, each with the places of its steps to show.

    In this order, those nearest to a time first: the marked event, steps with alerts, files that were run afterwards,
    what the process and its descendants did, what its ancestors did, other processes. With a process, its ancestors
    are shown.
    """
    processes = found.processes
    focus = next((index for index in chosen if any(step.is_trigger for step in processes[index].steps)), -1)
    above, below = set(_line(found, focus)) - {focus}, {focus}
    for index in chosen:
        if processes[index].parent in below:
            below.add(index)
    ranked: list[tuple[int, int, int, int]] = []
    for index in chosen:
        process = processes[index]
        rank = 3 if index in below else 4 if index in above else 5
        for place, placed in enumerate(process.steps):
            step = placed.step
            own = 0 if placed.is_trigger else 1 if placed.alerts else 2 if placed.ran is not None else rank
            ranked.append((own, abs(step.first - time), index, place))
        # A process that did nothing else has a line, too.
        ranked.append((rank, abs((process.started or process.actor.start or 0) - time), index, -1))
    seen: dict[int, set[int]] = {}
    left = UNFOLDED_LINES
    for own, _, index, place in sorted(ranked):
        if left <= 0:
            break
        # Those above a process that is shown are shown.
        fresh = list(takewhile(lambda each: each not in seen, _line(found, index)))
        lines = len(fresh) + (0 if place < 0 else 1 + len(processes[index].steps[place].alerts))
        if own and lines > left:
            continue
        left -= lines
        for each in fresh:
            seen[each] = set()
        if place >= 0:
            seen[index].add(place)
    return seen


def _line(found: Family, index: int) -> Iterator[int]:
    """Yield a process and its ancestors in the tree."""
    while index >= 0:
        yield index
        index = found.processes[index].parent


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


def _process(
    process: FamilyProcess, places: Mapping[int, int], seen: set[int] | None, alert_id: str, left: list[int]
) -> dict[str, Any]:
    actor, end = process.actor, process.end
    steps = _steps(process.steps, left)
    unfolded_steps = {id(process.steps[place]) for place in seen or ()}
    return {
        "is_folded": seen is None,
        "parent": places.get(process.parent, -1),
        "name": _cut(actor.name, left),
        "pid": actor.pid,
        "user": _cut(actor.user, left),
        "container": _cut(actor.container, left),
        "enters_container": process.enters_container,
        "command": _cut(actor.command, left),
        "origin": _cut(actor.origin, left),
        "started": None if process.started is None else _time(process.started),
        "ended": None if end is None else _time(end.first),
        "exit": None if end is None else _cut(end.target, left),
        "alike": process.alike,
        "steps": [_step(step, alert_id, left) | {"is_folded": id(step) not in unfolded_steps} for step in steps],
        "more_steps": len(process.steps) - len(steps),
    }


def _steps(steps: list[PlacedStep], left: list[int]) -> list[PlacedStep]:
    marked = sorted((step for step in steps if step.alerts or step.is_trigger), key=lambda step: not step.is_trigger)[
        :MAX_STEPS
    ]
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
        "ran": None if placed.ran is None else _time(placed.ran),
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
