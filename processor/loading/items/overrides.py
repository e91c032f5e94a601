"""The `override` of an item: which of its keys append to an earlier item, and which replace.

Source: falco rule_loader_reader.cpp (decode_overrides, check_update_expected).
"""

from collections.abc import Callable
from collections.abc import Mapping as MappingType
from dataclasses import dataclass

from processor.loading.definitions import ItemLocation
from processor.loading.problems.hints import did_you_mean
from processor.loading.problems.model import Problem, ProblemCode
from processor.loading.yaml.nodes import Mapping, Scalar, is_null
from processor.loading.yaml.values import invalid, problem

BOTH_WAYS = ("append", "replace")
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
    """The keys of each way."""

    append: frozenset[str]
    replace: frozenset[str]

    def __bool__(self) -> bool:
        return bool(self.append or self.replace)

    def exclude_append(self, item: Mapping, spot: ItemLocation, *, append: bool) -> None:
        """Refuse an item that says both override and append.

        Raises:
            Rejected: it does.
        """
        if append and self:
            raise invalid(_BOTH, spot, item.key("append"), "leave 'append: true' out")


def warn_of_append(item: Mapping, spot: ItemLocation, warn: Callable[[Problem], None]) -> None:
    """Tell that `append` is Falco's old way."""
    hint = "write 'override: {KEY: append}' with each key that is appended"
    warn(problem(ProblemCode.LOAD_DEPRECATED_ITEM, _APPEND_DEPRECATED, spot, item.key("append"), hint))


def refuse_append(item: Mapping, spot: ItemLocation, key: str) -> None:
    """Refuse a key that only Lanner knows where an item says `append: true`, which has no meaning for it.

    Raises:
        Rejected: it is there.
    """
    if item.get(key) is not None:
        message = f"Key '{key}' cannot be appended to, use 'replace' instead"
        raise invalid(message, spot, item.key(key), f"write 'override: {{{key}: replace}}' in place of 'append: true'")


def read_overrides(item: Mapping, spot: ItemLocation, allowed: MappingType[str, tuple[str, ...]]) -> Overrides:
    """Read an item's `override`; without one nothing is overridden.

    Args:
        item: the item.
        spot: where it is.
        allowed: the ways in which each key can be overridden.

    Raises:
        Rejected: a key or a way that isn't allowed.
    """
    found: dict[str, set[str]] = {"append": set(), "replace": set()}
    node = item.get("override")
    if node is None or is_null(node):
        return Overrides(frozenset(), frozenset())
    if not isinstance(node, Mapping):
        raise invalid("Value is not a mapping", spot, node, "write 'override: {condition: append}'")
    for key, value in node.pairs:
        if not isinstance(key, Scalar) or not isinstance(value, Scalar):
            raise invalid("Value is not a scalar value", spot, value, "each key of override says append or replace")
        ways = allowed.get(key.value, ())
        way = value.value
        if way not in found:
            message = f"Invalid override operation for key '{key.value}': '{way}'. Allowed values are: "
            hint = did_you_mean(way, ways)
            raise invalid(message + "".join(f"{name} " for name in ways), spot, value, hint)
        if way not in ways:
            raise invalid(_refusal(key.value, way), spot, key, did_you_mean(key.value, allowed) if not ways else "")
        found[way].add(key.value)
    return Overrides(frozenset(found["append"]), frozenset(found["replace"]))


def _refusal(key: str, way: str) -> str:
    if way == "append":
        return f"Key '{key}' cannot be appended to, use 'replace' instead"
    return f"Key '{key}' cannot be replaced"
