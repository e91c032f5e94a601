"""Draws the processes around an alert: who started whom, what each did, and the alerts in place.

Pure: takes events and alerts, returns lines.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from rich.cells import cell_len, chop_cells

from lanner.cli.terminal.output import paint
from lanner.recorder.timeline import TimelineEntry
from lanner.recorder.tree.activity import EXEC, EXIT, Activity
from lanner.recorder.tree.fold import REST, Step, fold
from lanner.recorder.tree.processes import Node, Processes, family_root
from schemas.alert import Alert
from schemas.text.printable import printable
from schemas.text.times import clock

MAX_CHILDREN = 50
"""Processes drawn below each process, those with alerts always."""
_LONG_NS = 1_000_000_000
"""Repeats over a longer time show their end."""
_NARROWEST = 20
_MARKED = "1;33"


@dataclass(frozen=True, slots=True)
class Style:
    """How to draw."""

    width: int = 0
    """Columns of the terminal; 0 to wrap nothing."""
    is_coloured: bool = False
    is_unicode: bool = True


@dataclass(slots=True)
class Drawing:
    """The tree, and what is not in it."""

    lines: list[str]
    unplaced: list[Alert]
    """Alerts whose events are not in the tree."""
    other_events: int
    other_processes: int


def draw(
    entries: Sequence[TimelineEntry[Activity]], alert: Alert | None, alerts: Sequence[Alert], style: Style
) -> Drawing:
    """Draw the family of the process that raised the alert; without its event, all processes.

    Args:
        entries: the events, in order.
        alert: the alert, if it is known.
        alerts: all alerts of the time.
        style: how to draw.
    """
    return _Tree(entries, alert, alerts, style).drawing()


class _Tree:
    def __init__(
        self, entries: Sequence[TimelineEntry[Activity]], alert: Alert | None, alerts: Sequence[Alert], style: Style
    ) -> None:
        self._style = style
        self._alert = alert
        self._processes = Processes(entry.shown for entry in entries)
        self._triggers = {_key(entry.shown) for entry in entries if entry.is_trigger}
        trigger = next((entry.shown for entry in entries if entry.is_trigger), None)
        self._focus = self._of_alert() if trigger is None else self._processes.node_of(trigger)
        self._alerts: dict[tuple[int, str], list[Alert]] = {}
        for each in alerts:
            self._alerts.setdefault((each.time, str(each.event.get("evt.num"))), []).append(each)
        self._placed: set[str] = set()
        self._lines: list[str] = []
        self._drawn: list[Node] = []
        branch, last, below, blank = ("├─ ", "└─ ", "│  ", "   ") if style.is_unicode else ("|- ", "`- ", "|  ", "   ")
        self._branches = (branch, last)
        self._below = (below, blank)
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

    def drawing(self) -> Drawing:
        """Return the finished drawing."""
        if self._focus is None:
            self._draw(self._processes.roots(), {})
        else:
            self._draw_family(self._focus)
        drawn = set(map(id, self._drawn))
        others = [node for node in self._processes.nodes if node.activities and id(node) not in drawn]
        unplaced = [each for alerts in self._alerts.values() for each in alerts if each.id not in self._placed]
        events = sum(activity.count for node in others for activity in node.activities)
        return Drawing(self._lines, sorted(unplaced, key=lambda each: each.time), events, len(others))

    def _of_alert(self) -> Node | None:
        """Return the process of the alert, if its event is not among these but others of the process are."""
        pid = None if self._alert is None else self._alert.event.get("proc.pid")
        return next((node for node in reversed(self._processes.nodes) if node.actor.pid == pid), None)

    def _draw_family(self, focus: Node) -> None:
        root = family_root(focus)
        ancestors = root.ancestors()[::-1]
        leading = []
        while ancestors and not ancestors[0].activities:
            leading.append(ancestors.pop(0))
        if leading:
            separator = " → " if self._style.is_unicode else " > "
            self._write("", "  ", separator.join(f"{node.actor.name}({node.actor.pid})" for node in leading))
        chain = [*ancestors, root]
        self._draw(chain[:1], {id(above): [below] for above, below in pairwise(chain)})

    def _draw(self, roots: list[Node], children: dict[int, list[Node]]) -> None:
        """Draw processes and their descendants. children: those to draw instead of all."""
        stack: list[tuple[Node, str, str, int]] = [(node, "", "", alike) for node, alike in self._chosen(roots)][::-1]
        while stack:
            node, first, rest, alike = stack.pop()
            self._drawn.append(node)
            below = self._chosen(children.get(id(node), node.children))
            self._draw_node(node, first, rest, alike, has_children=bool(below))
            for at, (child, number) in enumerate(reversed(below)):
                stack.append((child, rest + self._branches[at == 0], rest + self._below[at == 0], number))

    def _chosen(self, nodes: list[Node]) -> list[tuple[Node, int]]:
        """Return the processes to draw with the number of others that did the same; those are drawn by their number."""
        found: dict[object, tuple[Node, int]] = {}
        for node in sorted(nodes, key=lambda each: self._first[id(each)]):
            key = id(node) if node.children or self._is_marked(node) else _likeness(node)
            known = found.get(key)
            found[key] = (node, 1) if known is None else (known[0], known[1] + 1)
            if known is not None:
                self._drawn.append(node)
        chosen = list(found.values())
        kept = {id(node) for node, _ in chosen if id(node) in self._needed}
        room = max(MAX_CHILDREN - len(kept), 0)
        kept |= {id(node) for node, _ in [each for each in chosen if id(each[0]) not in kept][:room]}
        return [each for each in chosen if id(each[0]) in kept]

    def _is_marked(self, node: Node) -> bool:
        return node is self._focus or any(map(self._has_alert, node.activities))

    def _has_alert(self, activity: Activity) -> bool:
        return _key(activity) in self._triggers or _key(activity) in self._alerts

    def _draw_node(self, node: Node, first: str, rest: str, alike: int, *, has_children: bool) -> None:
        steps = fold(node.activities, self._has_alert)
        start = next((step for step in steps[:1] if step.verb == EXEC and self._is_plain(step)), None)
        if start is not None and not start.error and start.target == node.actor.command:
            steps = steps[1:]
            head = f"{_clock(start.first)} "
        else:
            head = ""
        end = next((step for step in steps[-1:] if step.verb == EXIT and self._is_plain(step)), None)
        steps = steps[:-1] if end is not None else steps
        self._write(first, rest + self._below[not has_children], head + _header(node, end, alike))
        inner = rest + self._below[not has_children]
        for step in steps:
            self._draw_step(step, inner)

    def _is_plain(self, step: Step) -> bool:
        return step.activity is None or not self._has_alert(step.activity)

    def _draw_step(self, step: Step, prefix: str) -> None:
        key = None if step.activity is None else _key(step.activity)
        is_trigger = key in self._triggers
        code = _MARKED if is_trigger and self._style.is_coloured else ""
        mark = "> " if is_trigger else "  "
        self._write(prefix + mark, prefix + "    ", f"{_clock(step.first)} {_text(step)}", code)
        for alert in () if key is None else self._alerts.get(key, ()):
            self._placed.add(alert.id)
            which = "this alert" if self._alert is not None and alert.id == self._alert.id else alert.id
            text = f"! {alert.priority} {printable(alert.rule)} ({which})"
            self._write(f"{prefix}  ", f"{prefix}    ", text, priority=alert.priority)

    def _write(self, first: str, rest: str, text: str, code: str = "", priority: str = "") -> None:
        text = text if self._style.is_unicode else text.replace(REST, "...")
        for number, (prefix, part) in enumerate(self._wrapped(first, rest, text)):
            shown = f"\x1b[{code}m{part}\x1b[0m" if code else part
            if priority and self._style.is_coloured:
                shown = paint(part, priority)
            self._lines.append(f"{prefix}{shown}" if number or prefix else shown)

    def _wrapped(self, first: str, rest: str, text: str) -> Iterator[tuple[str, str]]:
        width = self._style.width
        if not width:
            yield first, text
            return
        room = max(width - _NARROWEST, 3)
        first, rest = _shortened(first, room), _shortened(rest, room)
        columns = max(width - max(len(first), len(rest)), 2)
        for number, part in enumerate(_words_within(text, columns)):
            yield (rest if number else first), part


def _words_within(text: str, columns: int) -> list[str]:
    """Break a text between words, and words that are longer than a line; wide characters take two columns."""
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if cell_len(longer) <= columns:
            lines[-1] = longer
        else:
            lines += chop_cells(word, columns)
    return [line for line in lines if line] or [""]


def _shortened(prefix: str, columns: int) -> str:
    return prefix if len(prefix) <= columns else prefix[-columns:]


def _key(activity: Activity) -> tuple[int, str]:
    return activity.time, activity.number


def _likeness(node: Node) -> tuple[object, ...]:
    steps = tuple((activity.verb, activity.target, activity.error) for activity in node.activities)
    return node.actor.command, node.actor.user, node.actor.container, steps


def _header(node: Node, end: Step | None, alike: int) -> str:
    actor = node.actor
    parts = [f"{actor.name}({actor.pid})"]
    if actor.user:
        parts.append(f" {actor.user}")
    if actor.container and (node.parent is None or node.parent.actor.container != actor.container):
        parts.append(f" in container {actor.container}")
    if actor.command != actor.name:
        parts.append(f": {actor.command}")
    if end is not None:
        parts.append(f" [exit {end.target}, {_clock(end.first)}]")
    if alike > 1:
        parts.append(f" [and {alike - 1:,} more that did the same]")
    return "".join(parts)


def _text(step: Step) -> str:
    parts = [f"{step.verb} {step.target}".rstrip()]
    if step.error:
        parts.append(f": {step.error}")
    if step.count > 1:
        parts.append(f" {step.count:,} times")
    if step.targets > 1:
        parts.append(f" ({step.targets:,} names)")
    if step.last - step.first > _LONG_NS:
        parts.append(f", until {_clock(step.last)}")
    return "".join(parts)


def _clock(time: int) -> str:
    return clock(time)[:-6]
