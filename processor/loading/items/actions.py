"""Items that state what is to be done about the alerts of rules."""

from collections.abc import Iterable, Iterator
from typing import TypeVar, get_args

from foundation.quantities import parse_duration
from foundation.text import did_you_mean, is_like
from foundation.yaml.nodes import MappingNode, Node, SequenceNode
from processor.actions.policies import DEFAULT_BUDGET, MAX_APPROVALS, MAX_PER_HOUR, ActionBudget, ActionPolicy, Never
from processor.loading.definitions import ItemLocation, head_location, optional_scalar, problem, reject, scalar, texts
from processor.loading.items.collection import Collection
from processor.loading.problems import ItemRejected, Problem, ProblemCode
from schemas.action import ACTION_KINDS, DEFAULT_LEASE, MAX_LEASE, ActionState, ActionType, TargetType
from schemas.catalog.priorities import Priority, parse_priority

KEYS = (
    "action",
    "desc",
    "type",
    "target",
    "state",
    "lease",
    "wait",
    "approvals",
    "rules",
    "tags",
    "priority",
    "never",
    "budget",
)
BUDGET_KEYS = ("per_hour", "hosts", "replicas")
NEVER_KEYS = ("hosts", "users", "images", "namespaces")
TYPES: tuple[ActionType, ...] = get_args(ActionType)
STATES: tuple[ActionState, ...] = get_args(ActionState)
_Choice = TypeVar("_Choice", ActionType, TargetType, ActionState)


def read_action(item: MappingNode) -> ActionPolicy:
    """Return the policy of an item. Raises ItemRejected."""
    node = scalar(item, "action", ItemLocation(item, "action"))
    spot = ItemLocation(item, "action", node.value)
    type_ = _one_of(item, "type", TYPES, spot)
    kind = ACTION_KINDS[type_]
    target = _one_of(item, "target", kind.targets, spot, f"what can be {kind.done} is ")
    state = "would" if item.get("state") is None else _one_of(item, "state", STATES, spot)
    for key in ("wait", "approvals"):
        if state != "ask" and item.get(key) is not None:
            raise _wrong(f"'{key}' is only for the state ask", spot, item.get(key), "write 'state: ask', or remove it")
    description = optional_scalar(item, "desc", spot)
    return ActionPolicy(
        name=node.value,
        type=type_,
        target=target,
        state=state,
        lease=_lease(item, spot, has_lease=kind.has_lease),
        rules=_texts(item, "rules", spot),
        tags=_texts(item, "tags", spot),
        priority=_priority(item, spot),
        never=_never(item, spot),
        approvals=_number(item, "approvals", spot, default=1, most=MAX_APPROVALS),
        wait=_duration(item, "wait", spot, default=DEFAULT_LEASE),
        budget=_budget(item, spot),
        description=description.value if description else "",
        location=head_location(spot),
    )


def action_problems(collection: Collection) -> Iterator[Problem]:
    """Yield what is wrong with action policies and rules together, once all are known."""
    for rule in collection.rules.values():
        for node in rule.actions:
            if node.value not in collection.actions and node.value not in collection.broken["action"]:
                message = f"There is no action '{node.value}'"
                hint = did_you_mean(node.value, collection.actions) or "define it by an item 'action'"
                yield problem(ProblemCode.LOAD_ERR_EXTENSION, message, rule.spot, node, hint)
    named = {node.value for rule in collection.rules.values() for node in rule.actions}
    warning = ProblemCode.LOAD_WARNING_EXTENSION
    for policy in collection.actions.values():
        for pattern in policy.rules:
            if not any(is_like(name, pattern) for name in collection.rules):
                hint = did_you_mean(pattern, collection.rules) or "`lanner rules list` lists the rules"
                message = f"no rule is named '{pattern}'"
                yield Problem(warning, message, "action", policy.name, policy.location, hint)
        if not policy.rules and not policy.tags and policy.name not in named:
            message = "no rule requests this action"
            hint = "add 'rules: [NAME]', 'tags: [TAG]', or 'actions: [NAME]' to a rule"
            yield Problem(warning, message, "action", policy.name, policy.location, hint)


def _one_of(item: MappingNode, key: str, choices: tuple[_Choice, ...], spot: ItemLocation, what: str = "") -> _Choice:
    node = scalar(item, key, spot, hint=f"add '{key}: {choices[0]}'; {what or 'it is one of '}{', '.join(choices)}")
    found = next((each for each in choices if each == node.value), None)
    if found is None:
        others = f"none of {', '.join(choices)}" if len(choices) > 1 else f"not {choices[0]}"
        message = f"'{node.value}' is {others}"
        raise _wrong(message, spot, node, did_you_mean(node.value, choices))
    return found


def _lease(item: MappingNode, spot: ItemLocation, *, has_lease: bool) -> int:
    if not has_lease and item.get("lease") is not None:
        raise _wrong("an action of this type does not end by itself", spot, item.get("lease"), "remove 'lease'")
    return _duration(item, "lease", spot, default=DEFAULT_LEASE) if has_lease else 0


def _duration(item: MappingNode, key: str, spot: ItemLocation, *, default: int) -> int:
    node = optional_scalar(item, key, spot)
    if node is None:
        return default
    found = parse_duration(node.value, ("s", "m", "h", "d"))
    if not found or found > MAX_LEASE:
        raise _wrong(f"'{node.value}' is not a duration of up to 7 days", spot, node, "write it as 90s, 15m, 12h or 2d")
    return found


def _priority(item: MappingNode, spot: ItemLocation) -> Priority:
    node = optional_scalar(item, "priority", spot)
    if node is None:
        return Priority.DEBUG
    found = parse_priority(node.value)
    if found is None:
        names = [str(each) for each in Priority]
        hint = did_you_mean(node.value.capitalize(), names) or f"one of {', '.join(names)}"
        raise _wrong("Invalid priority", spot, node, hint)
    return found


def _never(item: MappingNode, spot: ItemLocation) -> Never:
    node = _mapping(item, "never", NEVER_KEYS, spot, "{hosts: [db-*]}")
    return Never() if node is None else Never(*(_texts(node, key, spot) for key in NEVER_KEYS))


def _budget(item: MappingNode, spot: ItemLocation) -> ActionBudget:
    node = _mapping(item, "budget", BUDGET_KEYS, spot, "{per_hour: 5}")
    if node is None:
        return DEFAULT_BUDGET
    return ActionBudget(
        _number(node, "per_hour", spot, default=DEFAULT_BUDGET.per_hour, most=MAX_PER_HOUR),
        _number(node, "hosts", spot, default=DEFAULT_BUDGET.hosts_percent, most=100, unit="%"),
        _number(node, "replicas", spot, default=DEFAULT_BUDGET.replicas, most=MAX_PER_HOUR),
    )


def _number(node: MappingNode, key: str, spot: ItemLocation, *, default: int, most: int, unit: str = "") -> int:
    value = optional_scalar(node, key, spot)
    if value is None:
        return default
    digits = value.value.removesuffix(unit)
    if not digits.isascii() or not digits.isdigit() or not value.value.endswith(unit) or not 0 < int(digits) <= most:
        message = f"'{value.value}' is not a number from 1{unit} to {most}{unit}"
        raise _wrong(message, spot, value, f"write '{key}: {default}{unit}'")
    return int(digits)


def _mapping(
    item: MappingNode, key: str, keys: tuple[str, ...], spot: ItemLocation, example: str
) -> MappingNode | None:
    """Return a mapping with some of the keys; None if there is none. Raises ItemRejected for anything else."""
    node = item.get(key)
    if node is None:
        return None
    if not isinstance(node, MappingNode):
        raise _wrong(f"'{key}' is not a mapping", spot, node, f"write '{key}: {example}'")
    for each in node.names():
        if each.value not in keys:
            hint = did_you_mean(each.value, keys) or f"the keys are {', '.join(keys)}"
            raise _wrong(f"{key}: unknown key '{each.value}'", spot, each, hint)
    return node


def _texts(item: MappingNode, key: str, spot: ItemLocation) -> tuple[str, ...]:
    """Return a text, or a list of texts, none of which is empty; () if the key is absent."""
    node = item.get(key)
    if node is None:
        return ()
    nodes: Iterable[Node] = texts(item, key, spot) if isinstance(node, SequenceNode) else [scalar(item, key, spot)]
    found = tuple(str(getattr(each, "value", "")) for each in nodes)
    if not all(found):
        raise _wrong(f"'{key}' has an empty text", spot, node, "remove it")
    return found


def _wrong(message: str, spot: ItemLocation, node: Node | None = None, hint: str = "") -> ItemRejected:
    return reject(message, spot, node, code=ProblemCode.LOAD_ERR_EXTENSION, hint=hint)
