"""The `override` of an item: the keys that append to an earlier item, and those that replace.

Source: falco rule_loader_reader.cpp (decode_overrides, check_update_expected).
"""

from collections.abc import Callable
from collections.abc import Mapping as MappingType
from dataclasses import dataclass

from processor.loading.definitions import ItemLocation
from processor.loading.problems.hints import did_you_mean
from processor.loading.problems.model import Problem, ProblemCode
from processor.loading.yaml.values import invalid, problem
from schemas.yaml.nodes import MappingNode, ScalarNode, is_null

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
        """Reject an item that has both `override` and `append: true`.

        Raises:
            ItemRejected: the item has both.
        """
        if append and self:
            raise invalid(_BOTH, spot, item.key("append"), "remove 'append: true'")


def warn_of_append(item: MappingNode, spot: ItemLocation, warn: Callable[[Problem], None]) -> None:
    """Report that `append` is deprecated."""
    hint = "write 'override: {KEY: append}' with each key that is appended"
    warn(problem(ProblemCode.LOAD_DEPRECATED_ITEM, _APPEND_DEPRECATED, spot, item.key("append"), hint))


def refuse_append(item: MappingNode, spot: ItemLocation, key: str) -> None:
    """Reject a key that only Lanner supports in an item with `append: true`, which does not apply to it.

    Raises:
        ItemRejected: the item has the key.
    """
    if item.get(key) is not None:
        message = f"Key '{key}' cannot be appended to, use 'replace' instead"
        raise invalid(message, spot, item.key(key), f"write 'override: {{{key}: replace}}' instead of 'append: true'")


def read_overrides(item: MappingNode, spot: ItemLocation, allowed: MappingType[str, tuple[str, ...]]) -> Overrides:
    """Read an item's `override`; it is empty if the key is absent.

    Args:
        item: the item.
        spot: the item's location.
        allowed: the operations that each key supports: append, replace.

    Raises:
        ItemRejected: a key or operation is not allowed.
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
            raise invalid(_refusal(key.value, operation), spot, key, hint)
        found[operation].add(key.value)
    return Overrides(frozenset(found["append"]), frozenset(found["replace"]))


def _refusal(key: str, operation: str) -> str:
    if operation == "append":
        return f"Key '{key}' cannot be appended to, use 'replace' instead"
    return f"Key '{key}' cannot be replaced"
