"""Rule items: a definition, an update of an earlier rule, or a switch that enables or disables one.

Source: falco rule_loader_reader.cpp.
"""

from collections.abc import Callable
from collections.abc import Mapping as MappingType
from dataclasses import dataclass
from functools import partial
from typing import Any

from foundation.text import did_you_mean
from foundation.yaml.nodes import MappingNode, ScalarNode, is_null
from foundation.yaml.text import Piece
from processor.loading.definitions import (
    EXTENSION_KEYS,
    ItemLocation,
    RuleDefinition,
    RuleUpdate,
    extensions_of,
    invalid,
    number,
    optional_scalar,
    optional_truth,
    problem,
    reject,
    scalar,
    scalar_piece,
    tags,
    texts,
    truth,
)
from processor.loading.items.collection import Collection
from processor.loading.items.exceptions import read_exceptions
from processor.loading.items.python_file import is_python
from processor.loading.problems import ItemRejected, Problem, ProblemCode
from processor.rule import PythonFunction
from schemas.catalog.fields import FIELDS, SYSCALL, has_field, resolve_field
from schemas.catalog.priorities import Priority, parse_priority

BOTH_KINDS = ("append", "replace")
ONLY_REPLACE = ("replace",)

_BOTH = (
    "Keys 'override' and 'append: true' cannot be used together. "
    "Add an 'append' entry (e.g. 'condition: append') under 'override' instead."
)
_APPEND_DEPRECATED = (
    "'append' key is deprecated. Add an 'append' entry (e.g. 'condition: append') under 'override' instead."
)


@dataclass(frozen=True, slots=True)
class Overrides:
    """The keys to append and to replace."""

    append: frozenset[str]
    replace: frozenset[str]

    def __bool__(self) -> bool:
        return bool(self.append or self.replace)

    def exclude_append(self, item: MappingNode, spot: ItemLocation, *, append: bool) -> None:
        """Raise ItemRejected for an item that has both `override` and `append: true`."""
        if append and self:
            raise invalid(_BOTH, spot, item.key("append"), "remove 'append: true'")


def warn_of_append(item: MappingNode, spot: ItemLocation, warn: Callable[[Problem], None]) -> None:
    """Report that `append` is deprecated."""
    hint = "write 'override: {KEY: append}' with each key that is appended"
    warn(problem(ProblemCode.LOAD_DEPRECATED_ITEM, _APPEND_DEPRECATED, spot, item.key("append"), hint))


def refuse_append(item: MappingNode, spot: ItemLocation, key: str) -> None:
    """Raise ItemRejected for a key that only Lanner supports in an item with `append: true`, which is not for it."""
    if item.get(key) is not None:
        message = f"Key '{key}' cannot be appended to, use 'replace' instead"
        raise invalid(message, spot, item.key(key), f"write 'override: {{{key}: replace}}' instead of 'append: true'")


def read_overrides(item: MappingNode, spot: ItemLocation, allowed: MappingType[str, tuple[str, ...]]) -> Overrides:
    """Read an item's `override`; it is empty if the key is absent.

    allowed: the operations that each key supports: append, replace. Raises ItemRejected for others.
    """
    found: dict[str, set[str]] = {"append": set(), "replace": set()}
    node = item.get("override")
    if node is None or is_null(node):
        return Overrides(frozenset(), frozenset())
    if not isinstance(node, MappingNode):
        raise invalid("Value is not a mapping", spot, node, "write 'override: {condition: append}'")
    for key, value in node.pairs:
        if not isinstance(key, ScalarNode) or not isinstance(value, ScalarNode):
            raise invalid("Value is not a scalar value", spot, value, "each value of override is append or replace")
        operations = allowed.get(key.value, ())
        operation = value.value
        if operation not in found:
            message = f"Invalid override operation for key '{key.value}': '{operation}'. Allowed values are: "
            hint = did_you_mean(operation, operations)
            raise invalid(message + "".join(f"{name} " for name in operations), spot, value, hint)
        if operation not in operations:
            hint = "" if operations else did_you_mean(key.value, allowed)
            refused = "appended to, use 'replace' instead" if operation == "append" else "replaced"
            raise invalid(f"Key '{key.value}' cannot be {refused}", spot, key, hint)
        found[operation].add(key.value)
    return Overrides(frozenset(found["append"]), frozenset(found["replace"]))


KEYS = (
    "rule",
    "condition",
    "output",
    "desc",
    "priority",
    "source",
    "enabled",
    "capture",
    "capture_duration",
    "warn_evttypes",
    "skip-if-unknown-filter",
    "tags",
    "exceptions",
    "override",
    "append",
)
OVERRIDABLE = {
    "condition": BOTH_KINDS,
    "output": BOTH_KINDS,
    "desc": BOTH_KINDS,
    "tags": BOTH_KINDS,
    "exceptions": BOTH_KINDS,
    "priority": ONLY_REPLACE,
    "capture": ONLY_REPLACE,
    "capture_duration": ONLY_REPLACE,
    "enabled": ONLY_REPLACE,
    "warn_evttypes": ONLY_REPLACE,
    "skip-if-unknown-filter": ONLY_REPLACE,
    "suppress": ONLY_REPLACE,
    "response": ONLY_REPLACE,
    "actions": ONLY_REPLACE,
}
_PRIORITIES = {
    **dict.fromkeys(("high", "severe", "major"), "Critical or Error"),
    **dict.fromkeys(("medium", "med", "moderate", "warn"), "Warning"),
    **dict.fromkeys(("low", "minor"), "Notice"),
    **dict.fromkeys(("crit", "fatal"), "Critical"),
    **dict.fromkeys(("emerg", "panic"), "Emergency"),
    **dict.fromkeys(("information", "none", "trivial"), "Informational"),
    **dict.fromkeys(("trace", "verbose"), "Debug"),
    "err": "Error",
    **{str(priority.value): str(priority) for priority in Priority},
}
"""Priorities of other systems, with those of the same severity."""
_REQUIRED = ("condition", "output", "desc", "priority")
_ENABLED_DEPRECATED = (
    "The standalone 'enabled' key usage is deprecated. The correct approach requires also a 'replace' entry "
    "under the 'override' key (i.e. 'enabled: replace')."
)


class RuleItem:
    """Reads one rule item."""

    def __init__(self, item: MappingNode, collection: Collection, report: Callable[[Problem], None]) -> None:
        """Read the name. report: receives warnings. Raises ItemRejected if there is none."""
        self._item = item
        self._spot = ItemLocation(item, "rule", scalar(item, "rule", ItemLocation(item, "rule")).value)
        self._collection = collection
        self._report = report

    def read(self) -> None:
        """Add the item to the collection.

        Raises:
            ItemRejected: the item is invalid.
            ItemSkipped: it changes a rule whose error is already reported.
        """
        item, spot = self._item, self._spot
        append = optional_truth(item, "append", spot, default=False)
        if append:
            warn_of_append(item, spot, self._report)
        overrides = read_overrides(item, spot, OVERRIDABLE)
        overrides.exclude_append(item, spot, append=append)
        if overrides:
            self._override(overrides)
        elif append:
            self._append()
        elif all(item.get(key) is None for key in _REQUIRED):
            enabled = truth(item, "enabled", spot)
            hint = "write 'override: {enabled: replace}' with it"
            self._report(
                problem(ProblemCode.LOAD_DEPRECATED_ITEM, _ENABLED_DEPRECATED, spot, item.key("enabled"), hint)
            )
            self._collection.enable_rule(spot.name, spot, enabled=enabled)
        else:
            self._define()

    def _define(self) -> None:
        item, spot = self._item, self._spot
        self._require_all()
        condition, output, description = (self._required(key) for key in ("condition", "output", "desc"))
        priority = self._priority()
        source, response = (optional_scalar(item, key, spot) for key in ("source", "response"))
        self._collection.define_rule(
            RuleDefinition(
                name=spot.name,
                spot=spot,
                condition=[scalar_piece(condition)],
                output=[Piece(output.value.strip(" \t\n\v\f\r"), output)],
                description=description.value,
                priority=priority,
                source=source.value if source else "syscall",
                enabled=optional_truth(item, "enabled", spot, default=True),
                capture=optional_truth(item, "capture", spot, default=False),
                capture_duration=0 if item.get("capture_duration") is None else number(item, "capture_duration", spot),
                warn_evttypes=optional_truth(item, "warn_evttypes", spot, default=True),
                skip_if_unknown_filter=optional_truth(item, "skip-if-unknown-filter", spot, default=False),
                tags=tags(item, spot),
                exceptions=read_exceptions(item, spot, self._report, append=False),
                extensions=extensions_of("rule", item),
                response=response.value if response else "",
                actions=[] if item.get("actions") is None else texts(item, "actions", spot),
                python=self._function(source.value if source else SYSCALL) if is_python(item.file.name) else None,
            )
        )

    def _function(self, source: str) -> PythonFunction:
        """Return the function of a rule of a Python file. Raises ItemRejected for a field that there isn't."""
        item, spot = self._item, self._spot
        nodes = [] if item.get("fields") is None else texts(item, "fields", spot)
        for node in nodes:
            found = resolve_field(node.value)
            if found is None or not has_field(source, found[0]):
                message = f"'{node.value}' is not a field of {source} events"
                hint = did_you_mean(node.value, FIELDS) or "`lanner fields` lists the fields"
                raise reject(message, spot, node, code=ProblemCode.LOAD_ERR_EXTENSION, hint=hint)
        names = tuple(node.value for node in nodes)
        return PythonFunction(item.file.name, item.file.text, scalar(item, "function", spot).value, names)

    def _require_all(self) -> None:
        """Raise ItemRejected for the first required key that is wrong, and report the others."""
        found: list[ItemRejected] = []
        required: list[Callable[[], object]] = [partial(self._required, key) for key in ("condition", "output", "desc")]
        for read in (*required, self._priority):
            try:
                read()
            except ItemRejected as rejected:
                found.append(rejected)
        for other in found[1:]:
            self._report(other.problem)
        for first in found[:1]:
            raise first

    def _append(self) -> None:
        for key in EXTENSION_KEYS["rule"]:
            refuse_append(self._item, self._spot, key)
        update = self._update()
        if self._item.get("condition") is not None:
            update.parts["condition"] = self._piece("condition")
        if self._item.get("exceptions") is not None:
            update.parts["exceptions"] = read_exceptions(self._item, self._spot, self._report, append=True)
        self._collection.append_rule(update)

    def _override(self, overrides: Overrides) -> None:
        rest = {key for key in OVERRIDABLE if self._item.get(key) is not None}
        if overrides.append:
            self._collection.append_rule(self._filled(overrides.append, rest, "append"))
        if overrides.replace:
            self._collection.replace_in_rule(self._filled(overrides.replace, rest, "replace"))
        for key in sorted(rest):
            message = f"Unexpected key '{key}': no corresponding entry under 'override' is defined."
            hint = f"write '{key}: replace' under 'override', or remove '{key}'"
            raise invalid(message, self._spot, self._item.key(key), hint)

    def _update(self) -> RuleUpdate:
        node = self._item.get("source")
        source = node.value if isinstance(node, ScalarNode) and not node.is_null else ""
        return RuleUpdate(self._spot.name, self._spot, source)

    def _filled(self, keys: frozenset[str], rest: set[str], kind: str) -> RuleUpdate:
        update = self._update()
        for key in OVERRIDABLE:
            if key not in keys:
                continue
            if key not in rest:
                message = f"An {kind} override for '{key}' was specified but '{key}' is not defined"
                hint = f"add '{key}: ...', or remove it from override"
                raise invalid(message, self._spot, self._item.key("override"), hint)
            rest.discard(key)
            attribute = "description" if key == "desc" else key.replace("-", "_")
            update.parts[attribute] = self._part(key, kind)
        return update

    def _part(self, key: str, kind: str) -> Any:
        item, spot = self._item, self._spot
        if key in ("condition", "output"):
            return self._piece(key)
        if key in ("desc", "response"):
            return self._required(key).value
        if key == "tags":
            return tags(item, spot)
        if key == "actions":
            return texts(item, key, spot)
        if key == "exceptions":
            return read_exceptions(item, spot, self._report, append=kind == "append")
        if key == "priority":
            return self._priority()
        if key == "suppress":
            return item.get(key)
        return number(item, key, spot) if key == "capture_duration" else truth(item, key, spot)

    def _required(self, key: str) -> ScalarNode:
        unknown = [name.value for name in self._item.names() if name.value not in KEYS]
        return scalar(self._item, key, self._spot, hint=_typing_mistake(key, unknown))

    def _piece(self, key: str) -> Piece:
        return scalar_piece(self._required(key))

    def _priority(self) -> Priority:
        node = self._required("priority")
        priority = parse_priority(node.value)
        if priority is None:
            names = [str(known) for known in Priority]
            meant = _PRIORITIES.get(node.value.lower())
            hint = f"'{node.value}' is not a priority: write {meant}" if meant else ""
            hint = hint or did_you_mean(node.value.capitalize(), names) or f"one of {', '.join(names)}"
            raise invalid("Invalid priority", self._spot, node, hint)
        return priority


def _typing_mistake(key: str, unknown: list[str]) -> str:
    written = did_you_mean(key, unknown)
    return written.replace("did you mean", "is it").replace("?", f", meant as '{key}'?") if written else ""
