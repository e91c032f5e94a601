"""The processes around an alert: who started whom, what each did, and the alerts in place.

Pure: takes events and alerts, returns a tree that `lanner context` draws as text and the console as a list.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from posixpath import dirname
from typing import Any

from lanner.recorder.context import Timeline, TimelineEntry
from lanner.recorder.tree.activity import EXEC, EXIT, Activity, Actor, SocketPair
from lanner.recorder.tree.relatives import INIT, family_of_alert, is_same_start
from schemas.alert import Alert
from schemas.catalog.system_calls import CLONES

MAX_STEPS = 8
"""Steps with the same verb and error; beyond it, targets are folded to folders, and these to outer folders."""
_DEPTHS = (5, 4, 3, 2, 1)
REST = "…"


@dataclass(slots=True)
class Step:
    """One line: activities with the same verb, error, and target or folder."""

    first: int
    last: int
    verb: str
    target: str
    error: str
    count: int
    targets: int = 1
    """Different targets that it stands for."""
    activity: Activity | None = None
    """Set if it stands for a single one that must be seen."""


def fold(activities: Iterable[Activity], is_marked: Callable[[Activity], bool]) -> list[Step]:
    """Return the steps of one process's activities, which are in order, in the order of their first events.

    is_marked: whether an activity has an alert; such an activity is never folded, nor are starts and ends.
    """
    steps: list[Step] = []
    alike: dict[tuple[str, str], dict[str, Step]] = {}
    for activity in activities:
        one = Step(
            activity.time, activity.time, activity.verb, activity.target, activity.error, activity.count,
            activity=activity,
        )  # fmt: skip
        if activity.verb in (EXEC, EXIT) or is_marked(activity):
            steps.append(one)
            continue
        one.activity = None
        known = alike.setdefault((activity.verb, activity.error), {})
        if activity.target in known:
            _add(known[activity.target], one)
        else:
            known[activity.target] = one
    for known in alike.values():
        steps += _within_limit(list(known.values()))
    return sorted(steps, key=lambda step: step.first)


def _within_limit(steps: list[Step]) -> list[Step]:
    folded = steps
    for folder_of in (dirname, *map(_outer, _DEPTHS), lambda _target: ""):
        if len(folded) <= MAX_STEPS:
            break
        folded = _by_folder(steps, folder_of)
    return folded


def _by_folder(steps: list[Step], folder_of: Callable[[str], str]) -> list[Step]:
    folders = [folder_of(step.target) if step.target.startswith("/") else "" for step in steps]
    sizes = Counter(folders)
    found: dict[tuple[bool, str], Step] = {}
    for step, folder in zip(steps, folders, strict=True):
        if sizes[folder] == 1:
            found[False, step.target] = step
        elif (True, folder) in found:
            _add(found[True, folder], step)
            found[True, folder].targets += 1
        else:
            name = f"{folder.rstrip('/')}/{REST}" if folder else f"{step.target}, {REST}"
            found[True, folder] = replace(step, target=name)
    return list(found.values())


def _add(step: Step, other: Step) -> None:
    step.first, step.last = min(step.first, other.first), max(step.last, other.last)
    step.count += other.count


def _outer(depth: int) -> Callable[[str], str]:
    return lambda target: "/".join(target.split("/")[: depth + 1]) if target.count("/") > depth else dirname(target)


@dataclass(slots=True, eq=False)
class Node:
    """A process."""

    actor: Actor
    """As the newest event shows it."""
    parent: "Node | None" = None
    children: list["Node"] = field(default_factory=list)
    activities: list[Activity] = field(default_factory=list)

    def ancestors(self) -> list["Node"]:
        """Return the ancestors, the nearest first."""
        found, node = [], self.parent
        while node is not None:
            found.append(node)
            node = node.parent
        return found


class Processes:
    """All processes of the activities."""

    def __init__(self, activities: Iterable[Activity]) -> None:
        """Take the activities, in order."""
        self._by_pid: dict[tuple[str, int], list[Node]] = {}
        self.nodes: list[Node] = []
        for activity in activities:
            self.node_of(activity).activities.append(activity)

    def node_of(self, activity: Activity) -> Node:
        """Return the process of an activity."""
        parent: Node | None = None
        for actor in reversed(activity.line):
            parent = self._node(actor, parent)
        assert parent is not None  # noqa: S101  a line has at least the process
        return parent

    def roots(self) -> list[Node]:
        """Return the processes without a known parent."""
        return [node for node in self.nodes if node.parent is None]

    def _node(self, actor: Actor, parent: Node | None) -> Node:
        known = self._by_pid.setdefault((actor.host, actor.pid), [])
        for node in reversed(known):
            if _is_same(node.actor, actor):
                node.actor = actor
                return node
        # The first parent stays: a process whose parent ended is given to another one.
        node = Node(actor, parent)
        known.append(node)
        self.nodes.append(node)
        if parent is not None:
            parent.children.append(node)
        return node


def family_root(node: Node) -> Node:
    """Return the process whose descendants are shown: the parent, unless unrelated services are its children, too."""
    return node if node.parent is None or node.parent.actor.pid <= INIT else node.parent


def _is_same(known: Actor, actor: Actor) -> bool:
    return known is actor or is_same_start(known.start, actor.start)


MAX_CHILDREN = 50
"""Processes shown below each process, those with alerts always."""
MAX_RAN = 20
"""Files of a tree that are marked because they were run afterwards; a build runs many."""
MAX_SOCKETS = 50
"""Connections of one process."""


@dataclass(frozen=True, slots=True)
class PlacedStep:
    """An action of a process, with the alerts that it raised."""

    step: Step
    is_trigger: bool
    """True if its event raised the alert that the tree is about."""
    alerts: tuple[Alert, ...]
    ran: int | None = None
    """When the file that it wrote was run afterwards, ns since the epoch."""


@dataclass(slots=True)
class FamilyProcess:
    """One process of a tree."""

    actor: Actor
    parent: int
    """Its index in the tree; -1 at the top."""
    started: int | None
    """When it executed its program, ns since the epoch, if that was seen and is not among the steps."""
    end: Step | None
    """Its exit, if that was seen."""
    alike: int
    """How many processes it stands for, itself included."""
    enters_container: bool
    """True if its parent is not in the same container."""
    steps: list[PlacedStep]
    sockets: tuple[tuple[SocketPair, int], ...] = ()
    """Its connections, each with the time of the first event about it, ns since the epoch."""


@dataclass(slots=True)
class Family:
    """The tree, and what is not in it."""

    leading: list[Actor] = field(default_factory=list)
    """Ancestors that did nothing relevant at that time, the oldest first."""
    processes: list[FamilyProcess] = field(default_factory=list)
    """Each after its parent, descendants directly after it."""
    unplaced: list[Alert] = field(default_factory=list)
    """Alerts whose events are not in the tree."""
    other_events: int = 0
    other_processes: int = 0

    def count_others(self, timeline: Timeline[Any]) -> None:
        """Add what the timeline left out because it was of other processes."""
        self.other_events += timeline.other_events
        self.other_processes += len(timeline.others)


def family(entries: Sequence[TimelineEntry[Activity]], alert: Alert | None, alerts: Sequence[Alert]) -> Family:
    """Return the family of the process that raised the alert; without event and alert, all processes.

    If the event was lost, the alert names its process and the parent; if neither did anything, there is no family.
    Events are in order; alerts are all those of the time.
    """
    return _Tree(entries, alert, alerts).family()


class _Tree:
    def __init__(
        self, entries: Sequence[TimelineEntry[Activity]], alert: Alert | None, alerts: Sequence[Alert]
    ) -> None:
        self._alert = alert
        self._processes = Processes(entry.shown for entry in entries)
        self._triggers = {_key(entry.shown) for entry in entries if entry.is_trigger}
        trigger = next((entry.shown for entry in entries if entry.is_trigger), None)
        known = [] if alert is None else [self._find(*each) for each in family_of_alert(alert)]
        self._focus = next(iter(known), None) if trigger is None else self._processes.node_of(trigger)
        # If the alert's process did nothing else, its parent is known.
        self._root = next(filter(None, known), None) if self._focus is None else family_root(self._focus)
        self._alerts: dict[tuple[int, str], list[Alert]] = {}
        for each in alerts:
            self._alerts.setdefault((each.time, str(each.event.get("evt.num"))), []).append(each)
        self._ran = _runs(entry.shown for entry in reversed(entries))
        self._placed: set[str] = set()
        self._family = Family()
        self._shown: set[int] = set()
        self._first: dict[int, int] = {}
        """Time of the first event of each process and its descendants."""
        self._needed: set[int] = set()
        """Processes that have an alert, or whose descendants have."""
        # Parents precede their children.
        for node in reversed(self._processes.nodes):
            times = [activity.time for activity in node.activities[:1]]
            self._first[id(node)] = min([*times, *(self._first[id(child)] for child in node.children)], default=0)
            if self._is_marked(node) or any(id(child) in self._needed for child in node.children):
                self._needed.add(id(node))

    def family(self) -> Family:
        """Return the finished tree."""
        found = self._family
        if self._root is not None:
            self._add_family(self._root)
        elif self._alert is None:
            self._add(self._processes.roots(), {})
        others = [node for node in self._processes.nodes if node.activities and id(node) not in self._shown]
        unplaced = [each for alerts in self._alerts.values() for each in alerts if each.id not in self._placed]
        found.unplaced = sorted(unplaced, key=lambda each: each.time)
        found.other_events += sum(activity.count for node in others for activity in node.activities)
        found.other_processes = len(others)
        return found

    def _find(self, pid: int, start: int | None) -> Node | None:
        nodes = (node for node in reversed(self._processes.nodes) if node.actor.pid == pid)
        return next((node for node in nodes if is_same_start(node.actor.start, start)), None)

    def _add_family(self, root: Node) -> None:
        ancestors = root.ancestors()[::-1]
        for node in ancestors:
            # What a service manager or a runtime does all the time led to nothing here.
            done = [act for act in node.activities if act.verb == EXEC or act.socket or self._is_seen(act)]
            self._family.other_events += sum(act.count for act in node.activities) - sum(act.count for act in done)
            node.activities = done
        while ancestors and not ancestors[0].activities:
            self._family.leading.append(ancestors.pop(0).actor)
        chain = [*ancestors, root]
        self._add(chain[:1], {id(above): [below] for above, below in pairwise(chain)})

    def _add(self, roots: list[Node], children: dict[int, list[Node]]) -> None:
        """Add processes and their descendants. children: those to add instead of all."""
        stack = [(node, -1, alike) for node, alike in self._chosen(roots)][::-1]
        while stack:
            node, parent, alike = stack.pop()
            self._shown.add(id(node))
            below = self._chosen(children.get(id(node), node.children))
            index = len(self._family.processes)
            self._family.processes.append(self._process(node, parent, alike))
            stack += [(child, index, number) for child, number in reversed(below)]

    def _chosen(self, nodes: list[Node]) -> list[tuple[Node, int]]:
        """Return the processes to show with the number of those that did the same, which they stand for."""
        found: dict[object, tuple[Node, int]] = {}
        for node in sorted(nodes, key=lambda each: self._first[id(each)]):
            key = id(node) if node.children or self._is_marked(node) else _likeness(node)
            known = found.get(key)
            found[key] = (node, 1) if known is None else (known[0], known[1] + 1)
            if known is not None:
                self._shown.add(id(node))
        chosen = list(found.values())
        kept = {id(node) for node, _ in chosen if id(node) in self._needed}
        room = max(MAX_CHILDREN - len(kept), 0)
        kept |= {id(node) for node, _ in [each for each in chosen if id(each[0]) not in kept][:room]}
        return [each for each in chosen if id(each[0]) in kept]

    def _is_marked(self, node: Node) -> bool:
        return node is self._focus or any(map(self._has_alert, node.activities))

    def _has_alert(self, activity: Activity) -> bool:
        return _key(activity) in self._triggers or _key(activity) in self._alerts

    def _is_seen(self, activity: Activity) -> bool:
        return self._has_alert(activity) or _key(activity) in self._ran

    def _process(self, node: Node, parent: int, alike: int) -> FamilyProcess:
        # A process that was started is in the tree itself.
        activities = (act for act in node.activities if act.verb not in CLONES or act.error or self._has_alert(act))
        steps = fold(activities, self._is_seen)
        start = next((step for step in steps[:1] if step.verb == EXEC and self._is_plain(step)), None)
        if start is not None and (start.error or start.target != node.actor.command):
            start = None
        steps = steps if start is None else steps[1:]
        end = next((step for step in steps[-1:] if step.verb == EXIT and self._is_plain(step)), None)
        container = "" if node.parent is None else node.parent.actor.container
        return FamilyProcess(
            node.actor,
            parent,
            None if start is None else start.first,
            end,
            alike,
            bool(node.actor.container) and node.actor.container != container,
            [self._placed_step(step) for step in (steps if end is None else steps[:-1])],
            _sockets(node),
        )

    def _is_plain(self, step: Step) -> bool:
        return step.activity is None or not self._has_alert(step.activity)

    def _placed_step(self, step: Step) -> PlacedStep:
        if step.activity is None:
            return PlacedStep(step, is_trigger=False, alerts=())
        key = _key(step.activity)
        alerts = tuple(self._alerts.get(key, ()))
        self._placed.update(alert.id for alert in alerts)
        return PlacedStep(step, key in self._triggers, alerts, self._ran.get(key))


def _runs(latest: Iterable[Activity]) -> dict[tuple[int, str], int]:
    """Map those of activities that last wrote a file before it was run to the time of that. latest: the last first."""
    runs: dict[tuple[str, str], int] = {}
    found: dict[tuple[int, str], int] = {}
    for activity in latest:
        for path in activity.files:
            file = activity.line[0].container, path
            if activity.verb == EXEC:
                runs[file] = activity.time
            elif file in runs and len(found) < MAX_RAN:
                found[_key(activity)] = runs.pop(file)
    return found


def _sockets(node: Node) -> tuple[tuple[SocketPair, int], ...]:
    found: dict[SocketPair, int] = {}
    if node.actor.ssh is not None and node.actor.start is not None:
        found[node.actor.ssh] = node.actor.start
    for activity in node.activities:
        if activity.socket is not None:
            found.setdefault(activity.socket, activity.time)
    return tuple(found.items())[:MAX_SOCKETS]


def _key(activity: Activity) -> tuple[int, str]:
    return activity.time, activity.number


def _likeness(node: Node) -> tuple[object, ...]:
    steps = tuple((activity.verb, activity.target, activity.error) for activity in node.activities)
    return node.actor.command, node.actor.user, node.actor.container, steps
