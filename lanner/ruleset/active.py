"""Which rules a process uses, and the loaded rules."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from processor.actions.policies import ActionPolicy
from processor.loading import RuleFile
from processor.loading.rules import LoadedIndicators, LoadedList, Switch
from processor.python.limits import DEFAULT_LIMITS, PythonLimits
from processor.rule import Enrichment, LoadedMacro, Rule, RuleMatching
from schemas.catalog.priorities import PriorityName

if TYPE_CHECKING:
    from processor.indicators.lists import PublishedFiles

SHIPPED_FOLDER = Path(__file__).parents[2] / "rules"
"""Beside the packages, in a checkout and where Lanner is installed."""


@dataclass(frozen=True, slots=True)
class Appended:
    """Text and fields that are added to the alerts of some rules."""

    source: str | None
    """Source of the rules; None for any."""
    rule: str | None
    """Name of the rule; None for any."""
    tags: tuple[str, ...]
    """Tags that the rules have, all of them."""
    output: str
    """Text for the end of the rule's output."""
    fields: tuple[tuple[str, str | None], ...]
    """Fields for output_fields: name and format; None for the field of that name."""
    suggests: bool | None
    """True to append container and pod, false not to; None to leave it to others."""

    def is_for(self, rule: Rule) -> bool:
        """Return whether it applies to a rule: all its conditions must be true."""
        return (
            self.source in (None, rule.source) and self.rule in (None, rule.name) and set(self.tags) <= set(rule.tags)
        )


@dataclass(frozen=True, slots=True)
class RuleChoices:
    """Which rules a process uses, and how they are compiled."""

    files: tuple[RuleFile, ...]
    """Loaded in this order."""
    watched: tuple[Path, ...]
    """Files and folders: a change to any may change the rules."""
    origin: str
    """Short description of where the rules come from."""
    switches: tuple[Switch, ...]
    """Steps of enabling and disabling rules."""
    appended: tuple[Appended, ...]
    rule_matching: RuleMatching
    priority: PriorityName
    """Rules of a lower priority are not evaluated."""
    group_values: int
    """Values that a first_seen macro remembers per group."""
    redact: tuple[str, ...]
    """Patterns of secrets that alerts mask."""
    has_audit_log: bool
    """True if `lanner run` follows a Kubernetes audit log."""
    published: "PublishedFiles | None" = None
    """Where the files of indicators of published rules are; None to take those on the disk."""
    python: PythonLimits | None = DEFAULT_LIMITS
    """What the process of a Python rule file may take; None to call no function."""


@dataclass(frozen=True, slots=True)
class ActiveRules:
    """All rules, enabled and disabled as configured, with notices about them."""

    rules: tuple[Rule, ...]
    notices: tuple[str, ...]
    """Each file with its number of rules, redefinitions, warnings."""
    extra_fields: Mapping[str, Mapping[str, str | None]]
    """Fields that the settings add to output_fields, by rule: name to format; None for the field of that name."""
    bare_outputs: frozenset[str] = frozenset()
    """The rules to whose outputs container and pod are not appended."""
    macros: Mapping[str, LoadedMacro] = field(default_factory=dict)
    lists: Mapping[str, LoadedList] = field(default_factory=dict)
    indicators: Mapping[str, LoadedIndicators] = field(default_factory=dict)
    enrichments: tuple[Enrichment, ...] = ()
    """The functions of Python files that add output fields to alerts."""
    actions: tuple[ActionPolicy, ...] = ()


def on_top(below: Sequence[RuleFile], own: Sequence[RuleFile]) -> tuple[RuleFile, ...]:
    """Return files in the order in which they are loaded: one that is among those below stays at its place."""
    mine = {Path(file.name).resolve(): file for file in own}
    in_place = tuple(mine.pop(Path(file.name).resolve(), file) for file in below)
    return (*in_place, *mine.values())
