"""What pages show of loaded rules."""

from collections.abc import Callable

from lanner.console.fleet.ports import KnownRules, RuleFacts
from lanner.errors import BadInput
from lanner.ruleset.load import ActiveRules
from lanner.settings import Settings
from processor.compiler.recursion import deep
from processor.language.printer import print_condition
from processor.loading import Rule
from schemas.catalogue.priorities import BY_NAME, Priority

_MAX_ERRORS = 5
MAX_CONDITION = 20_000
"""Characters of a condition that are shown."""


def facts_of(active: ActiveRules, floor: Priority) -> tuple[RuleFacts, ...]:
    """Return the facts of rules. floor: rules of a lower priority are not evaluated."""
    with deep():
        return tuple(_facts(rule, floor) for rule in active.rules)


class RuleFiles:
    """The rules of files as pages show them; made once for each time that they were loaded."""

    def __init__(self, settings: Settings, active: Callable[[], ActiveRules], origin: str) -> None:
        """Take what returns the rules.

        Args:
            settings: with the lowest priority of rules that are evaluated.
            active: returns the rules; raises BadInput.
            origin: where they are from, as a sentence.
        """
        self._floor = BY_NAME[settings.priority]
        self._active = active
        self._origin = origin
        self._made: tuple[ActiveRules, KnownRules] | None = None

    def known(self) -> KnownRules:
        """Return the rules; if they can't be loaded, why."""
        try:
            active = self._active()
        except BadInput as error:
            return KnownRules(problem=f"The rule files can't be loaded: {' '.join(error.messages[:_MAX_ERRORS])}")
        made = self._made
        if made is None or made[0] is not active:
            made = self._made = active, KnownRules(facts_of(active, self._floor), self._origin)
        return made[1]


def _facts(rule: Rule, floor: Priority) -> RuleFacts:
    return RuleFacts(
        name=rule.name,
        priority=str(rule.priority),
        enabled=rule.enabled and rule.priority <= floor,
        tags=rule.tags,
        event_types=rule.event_types,
        description=rule.description.strip(),
        response=rule.response.strip(),
        condition=print_condition(rule.condition, expand_macros=False)[:MAX_CONDITION],
        exceptions=rule.active_exceptions,
        place=f"{rule.file}:{rule.line}",
    )
