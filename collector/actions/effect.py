"""How an action on this host is done and undone: what each type of action implements.

An action does what it states or nothing. Whatever identifies the target is checked on the object that is then acted
on (a pidfd, an open cgroup, an open file), so that another one can't take its place in between.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from foundation.errors import LannerError
from schemas.action import ActionIntent

UndoFacts = Mapping[str, "int | str | list[str] | None"]
"""What is needed to undo an action after a restart; JSON."""


class ActionRefused(LannerError):
    """The action isn't done; the message is the reason, for people."""


class TargetGone(LannerError):
    """The target no longer exists: a result, not an error."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What was done."""

    text: str
    """For people, such as "killed 3 processes"; it may contain what an attacker wrote."""
    undo: UndoFacts
    """Empty if it can't be undone."""


class HostAction(Protocol):
    """One type of action, such as freezing a container."""

    def do(self, intent: ActionIntent) -> Effect:
        """Act on the target.

        Raises:
            ActionRefused: it isn't done, because of a protection, an ambiguous target, or what this host lacks.
            TargetGone: the target no longer exists.
            OSError: it failed.
        """

    def extend(self, intent: ActionIntent, facts: UndoFacts, lease: int) -> None:
        """Make the action last for so many nanoseconds from now on; only for types with a lease."""

    def undo(self, intent: ActionIntent, facts: UndoFacts) -> str:
        """Undo the action, also if it was undone already; return what was done, for people.

        Raises:
            TargetGone: what the action was done to no longer exists.
            OSError: it failed.
        """


@runtime_checkable
class GuardedAction(HostAction, Protocol):
    """An action whose end is prepared before it is done, so that it ends whatever happens in between."""

    def before(self, intent: ActionIntent) -> UndoFacts:
        """Return what will undo it, without acting. Raises as HostAction.do."""
