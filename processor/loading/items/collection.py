"""The collection of the items of all files: definitions, redefinitions, appends and overrides.

Source: falco rule_loader_collector.cpp.
"""

from collections.abc import Callable

from foundation.errors import LannerError
from foundation.text import did_you_mean
from foundation.yaml.nodes import MappingNode, Node
from foundation.yaml.text import Piece
from processor.actions.policies import ActionPolicy
from processor.indicators.lists import PublishedFiles
from processor.loading.definitions import (
    ExceptionDefinition,
    ItemLocation,
    ListDefinition,
    MacroDefinition,
    PluginRequirement,
    RuleDefinition,
    RuleUpdate,
    problem,
    reject,
)
from processor.loading.items import exceptions
from processor.loading.items.exceptions import FieldCheck
from processor.loading.problems import ItemRejected, Problem, ProblemCode
from processor.loading.rules import LoadedIndicators
from processor.rule import Enrichment
from schemas.catalog.fields import SOURCES

ENGINE_VERSION = (0, 63, 0)
"""The newest Falco engine version that rule files may require."""

_NO_LIST = "List uses 'append' or 'override.items: append' but no list by that name already exists"
_NO_MACRO = "Macro uses 'append' or 'override.condition: append' but no macro by that name already exists"
_NO_MACRO_REPLACE = "Macro uses 'override.correlation: replace' but no macro by that name already exists"
_NO_RULE_APPEND = "Rule uses 'append' or 'override.<key>: append' but no rule by that name already exists"
_NO_RULE_REPLACE = "An 'override.<key>: replace' to a rule was requested but no rule by that name already exists"
_NO_RULE_ENABLE = "Rule has 'enabled' key but no rule by that name already exists"


class Collection:
    """The combined items of the files read so far."""

    __slots__ = (
        "_check_field",
        "_next",
        "_warn",
        "actions",
        "broken",
        "enrichments",
        "indicators",
        "lists",
        "macros",
        "plugins",
        "published",
        "redefined",
        "rejected",
        "rules",
    )

    def __init__(
        self, warn: Callable[[Problem], None], check_field: FieldCheck, published: PublishedFiles | None = None
    ) -> None:
        self.lists: dict[str, ListDefinition] = {}
        self.macros: dict[str, MacroDefinition] = {}
        self.rules: dict[str, RuleDefinition] = {}
        self.indicators: dict[str, LoadedIndicators] = {}
        self.actions: dict[str, ActionPolicy] = {}
        self.enrichments: list[Enrichment] = []
        self.published = published
        self.plugins: list[tuple[PluginRequirement, ...]] = []
        self.redefined: list[tuple[ItemLocation, ItemLocation]] = []
        """Items that define an item again, without `override`: the new one and the old one."""
        kinds = ("list", "indicators", "action", "macro", "rule")
        self.broken: dict[str, set[str]] = {kind: set() for kind in kinds}
        """Names of items with an error, by type: items that refer to them are skipped without a further error."""
        self.rejected: list[ItemLocation] = []
        """Definitions of macros and rules that were rejected for something else than their texts."""
        self._next = 0
        self._warn = warn
        self._check_field = check_field

    def _take_index(self) -> int:
        self._next += 1
        return self._next - 1

    def _note_redefinition(
        self, new: ItemLocation, old: ListDefinition | MacroDefinition | RuleDefinition | None
    ) -> None:
        if old is not None and isinstance(new.node, MappingNode) and new.node.get("override") is None:
            self.redefined.append((new, old.spot))

    def require_engine(self, version: tuple[int, int, int], spot: ItemLocation) -> None:
        """Check that a file requires an engine version that Lanner is compatible with."""
        if version[0] == ENGINE_VERSION[0] and version <= ENGINE_VERSION:
            return
        required, current = (".".join(map(str, numbers)) for numbers in (version, ENGINE_VERSION))
        message = f"Rules require engine version {required}, but engine version is {current}"
        raise reject(message, spot, code=ProblemCode.LOAD_ERR_VALIDATE, hint="use rules for an older engine")

    def define_list(self, new: ListDefinition) -> None:
        """Define or redefine a list; a redefinition also affects earlier conditions and keeps its position."""
        index = self._take_index()
        old = self.lists.get(new.name)
        new.index, new.visibility = (old.index if old else index), index
        self._note_redefinition(new.spot, old)
        self.lists[new.name] = new
        self.broken["list"].discard(new.name)

    def append_list(self, new: ListDefinition) -> None:
        """Append items to a list."""
        old = self.lists.get(new.name)
        if old is None:
            raise self._missing("list", new.spot, _NO_LIST, list(self.lists))
        old.items.extend(new.items)
        old.visibility = self._take_index()

    def define_indicators(self, new: LoadedIndicators) -> None:
        """Define or redefine a list of indicators."""
        self.indicators[new.indicators.spec.name] = new
        self.broken["indicators"].discard(new.indicators.spec.name)

    def define_action(self, new: ActionPolicy) -> None:
        """Define or redefine an action policy."""
        self.actions[new.name] = new
        self.broken["action"].discard(new.name)

    def define_macro(self, new: MacroDefinition) -> None:
        """Define or redefine a macro."""
        index = self._take_index()
        old = self.macros.get(new.name)
        new.index, new.visibility = (old.index if old else index), index
        self._note_redefinition(new.spot, old)
        self.macros[new.name] = new
        self.broken["macro"].discard(new.name)

    def append_macro(self, new: MacroDefinition) -> None:
        """Append text to a macro's condition."""
        old = self.macros.get(new.name)
        if old is None:
            raise self._missing("macro", new.spot, _NO_MACRO, list(self.macros))
        old.condition = _joined(old.condition, new.condition[0])
        old.visibility = self._take_index()

    def replace_in_macro(self, new: MacroDefinition) -> None:
        """Replace a macro's condition, its correlation or both; a missing part stays unchanged."""
        old = self.macros.get(new.name)
        if old is not None:
            new.extensions = {**old.extensions, **new.extensions}
            new.condition = new.condition or old.condition
        elif not new.condition:
            raise self._missing("macro", new.spot, _NO_MACRO_REPLACE, list(self.macros))
        self.define_macro(new)

    def define_rule(self, new: RuleDefinition) -> None:
        """Define or redefine a rule; a redefinition keeps the position of the first."""
        old = self.rules.get(new.name)
        if old is not None:
            _same_source(old, new.source, new.spot)
        if new.source not in SOURCES:
            new.unknown_source = True
            message = f"Unknown source {new.source}, skipping"
            hint = did_you_mean(new.source, SOURCES) or f"the sources are {' and '.join(SOURCES)}"
            self._warn(
                problem(ProblemCode.LOAD_UNKNOWN_SOURCE, message, new.spot, _value_node(new.spot, "source"), hint)
            )
        for exception in new.exceptions:
            if not exception.fields.is_given:
                message = "Rule exception item must have fields property with a list of fields"
                raise reject(message, exception.spot, code=ProblemCode.LOAD_ERR_VALIDATE, hint="add 'fields: [...]'")
            exceptions.validate(exception, None if new.unknown_source else self._check_field)
        self._take_index()
        self._note_redefinition(new.spot, old)
        self.rules[new.name] = new
        self.broken["rule"].discard(new.name)

    def append_rule(self, update: RuleUpdate) -> None:
        """Append to a rule's texts, tags and exceptions."""
        rule = self._updated(update, _NO_RULE_APPEND)
        if not update.parts:
            message = "Appended rule must have exceptions or condition property"
            raise reject(message, update.spot, code=ProblemCode.LOAD_ERR_VALIDATE, hint="add one, or remove the item")
        known = {old.name: old for old in reversed(rule.exceptions)}
        for key, part in update.parts.items():
            if key == "exceptions":
                for exception in part:
                    self._append_exception(rule, exception, known)
            elif key == "tags":
                rule.tags |= part
            elif key == "description":
                rule.description += f" {part}"
            else:
                setattr(rule, key, _joined(getattr(rule, key), part))
        self._take_index()

    def _append_exception(
        self, rule: RuleDefinition, new: ExceptionDefinition, known: dict[str, ExceptionDefinition]
    ) -> None:
        old = known.get(new.name)
        if old is not None:
            for key, entry in (("fields", new.fields), ("comps", new.comps)):
                if entry.is_given:
                    message = f"Can not append exception {key} to existing exception, only values"
                    raise _exception_error(message, new, key, "remove it, or rename the exception")
            old.values.extend(new.values)
            return
        if not new.fields.is_given:
            message = "Rule exception must have fields property with a list of fields"
            hint = did_you_mean(new.name, known)
            raise _exception_error(message, new, "name", hint)
        if not new.values:
            message = "Rule exception must have values property with a list of values"
            raise _exception_error(message, new, "name", "add 'values: [...]'")
        exceptions.validate(new, None if rule.unknown_source else self._check_field)
        rule.exceptions.append(new)
        known[new.name] = new

    def replace_in_rule(self, update: RuleUpdate) -> None:
        """Replace the parts of a rule that the update contains."""
        rule = self._updated(update, _NO_RULE_REPLACE)
        if not update.parts:
            message = "The rule must have at least one field that can be replaced"
            raise reject(message, update.spot, code=ProblemCode.LOAD_ERR_VALIDATE)
        for key, part in update.parts.items():
            if key == "suppress":
                rule.extensions = {**rule.extensions, key: part}
            else:
                setattr(rule, key, [part] if isinstance(part, Piece) else part)
        self._take_index()

    def enable_rule(self, name: str, spot: ItemLocation, *, enabled: bool) -> None:
        """Enable or disable an earlier rule."""
        rule = self.rules.get(name)
        if rule is None:
            raise self._missing("rule", spot, _NO_RULE_ENABLE, list(self.rules))
        rule.enabled = enabled

    def _updated(self, update: RuleUpdate, message: str) -> RuleDefinition:
        rule = self.rules.get(update.name)
        if rule is None:
            raise self._missing("rule", update.spot, message, list(self.rules))
        _same_source(rule, update.source, update.spot)
        return rule

    def _missing(self, kind: str, spot: ItemLocation, message: str, names: list[str]) -> Exception:
        if spot.name in self.broken[kind]:
            return ItemSkipped()
        hint = did_you_mean(spot.name, names) or f"define the {kind} before it is changed"
        return reject(message, spot, code=ProblemCode.LOAD_ERR_VALIDATE, hint=hint)


class ItemSkipped(LannerError):
    """Raised to stop reading an item that changes another whose error is already reported."""


def _joined(pieces: list[Piece], new: Piece) -> list[Piece]:
    return [*pieces, Piece(" ", new.node), new]


def _same_source(rule: RuleDefinition, source: str, spot: ItemLocation) -> None:
    if source and rule.source != source:
        message = "Rule has been re-defined with a different source"
        hint = f"its source is {rule.source}"
        raise reject(message, spot, _value_node(spot, "source"), code=ProblemCode.LOAD_ERR_VALIDATE, hint=hint)


def _value_node(spot: ItemLocation, key: str) -> Node | None:
    return spot.node.get(key) if isinstance(spot.node, MappingNode) else None


def _exception_error(message: str, new: ExceptionDefinition, key: str, hint: str) -> ItemRejected:
    return reject(message, new.spot, _value_node(new.spot, key), code=ProblemCode.LOAD_ERR_VALIDATE, hint=hint)
