"""Folds what a process did: repeats become a number, and many similar files become their folder.

Pure: takes activities, returns steps.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from posixpath import dirname

from lanner.recorder.tree.activity import EXEC, EXIT, Activity

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
    """Return the steps in the order of their first events.

    Args:
        activities: of one process, in order.
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
