"""Builds the processes of a time from its activities, and finds the family of the one that raised an alert.

Pure: takes activities, returns processes.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from lanner.recorder.tree.activity import Activity, Actor

_SAME_START = 1_000_000_000
"""Collectors know the start of an older process to 10 ms only, and clocks are corrected: pids repeat less often, ns."""
_INIT = 1


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
    return node if node.parent is None or node.parent.actor.pid <= _INIT else node.parent


def _is_same(known: Actor, actor: Actor) -> bool:
    if known is actor or known.start is None or actor.start is None:
        return True
    return abs(known.start - actor.start) < _SAME_START
