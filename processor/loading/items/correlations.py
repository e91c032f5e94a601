"""Lanner's own keys in rule files: the ``correlation`` of a macro and the ``suppress`` of a rule.

The terms are those of the Sigma correlation specification, version 2. All problems are reported at once.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from foundation.quantities import UNITS, parse_duration
from foundation.text import did_you_mean
from foundation.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode, is_null
from foundation.yaml.text import node_location
from processor.loading.problems import Problem, ProblemCode
from processor.output.tokens import OutputError, parse_output
from processor.rule import TYPES, Alias, Correlation, CorrelationType, Kind, Suppress
from schemas.catalog.fields import FIELDS, field_problem

MAX_THRESHOLD = 10_000
"""The limit on the events or values that a window stores for each group."""
MAX_LEGS = 20
MAX_GROUP_FIELDS = 10
MAX_TIMESPAN = 31 * UNITS["d"]
MAX_LOOKBACK = 90 * UNITS["d"]
MAX_HOSTS = 100
"""The limit on the hosts below which prevalence is true: few more are stored for each group."""
MAX_VALUE_FIELDS = 3
"""The limit on the fields that first_seen combines to one value."""
RULE = "rule"
"""In place of a field: the name of the rule, of a correlation over rules."""
_LEARNING = UNITS["d"]
"""The default of learning, if the lookback isn't shorter."""

_NUMBER = re.compile(r"[0-9]{1,9}")
_KEYS = tuple(dict.fromkeys(key for each in TYPES.values() for key in each.keys))
_SUPPRESS_KEYS = ("by", "for")
_EXAMPLE = "30s, 1m, 5m, 2h, 1d"

Report = Callable[[Problem], None]


def read_correlation(name: str, extension: Node, report: Report) -> Correlation | None:
    """Read the value of a macro's ``correlation``; return None if there are problems, which are reported."""
    reader = _Reader("macro", name, extension, report)
    read = reader.correlation()
    return None if reader.failed else read


def read_suppress(name: str, extension: Node, known: Sequence[str], report: Report) -> Suppress | None:
    """Read the value of a rule's ``suppress``; return None if there are problems, which are reported.

    known: group names of the rule's stateful macros, which ``by`` accepts in addition to fields.
    """
    reader = _Reader("rule", name, extension, report)
    read = reader.suppress(known)
    return None if reader.failed else read


class _Reader:
    def __init__(self, item_type: str, name: str, root: Node, report: Report) -> None:
        self._type = item_type
        self._name = name
        self._root = root
        self._report = report
        self.failed = False
        self._root_has_rules = isinstance(root, MappingNode) and root.get("rules") is not None

    def correlation(self) -> Correlation | None:
        root = self._mapping(self._root, "correlation", _KEYS)
        if root is None:
            return None
        name = self._type_name(root)
        if name is None:
            if root.get("timespan") is not None:
                self._timespan(root, "timespan")
            if root.get("aliases") is None:
                self._fields(root, "group-by", ())
            return None
        kind = TYPES[name]
        for key in root.names():
            if key.value in _KEYS and key.value not in kind.keys:
                *others, other = [each for each, its in TYPES.items() if key.value in its.keys]
                owners = f"{', '.join(others)} and {other}" if others else other
                self._fail(key, f"'{key.value}' does not apply to type {name}", f"remove it: it belongs to {owners}")
        if kind.remembers_values:
            return self._remembering(name, root)
        timespan = self._timespan(root, "timespan")
        is_temporal = kind.is_temporal
        over_rules = self._rules(root, is_temporal=is_temporal)
        legs = () if not is_temporal else self._legs(root) if over_rules is None else over_rules
        until = self._until(root, legs) if "until" in kind.keys else ""
        aliases = self._aliases(root, (*legs, until) if until else legs) if is_temporal else ()
        names = [alias.name for alias in aliases]
        group_by = self._fields(root, "group-by", names)
        for alias in aliases:
            if alias.name not in group_by:
                hint = f"add '{alias.name}' to group-by, or remove the alias"
                self._fail(root.key("aliases"), f"alias '{alias.name}' is not in group-by", hint)
        field, threshold = ("", 1) if is_temporal else self._condition(root, kind)
        read = Correlation(name, group_by, timespan, threshold, (field,) if field else (), legs, aliases, until=until)
        if over_rules is None:
            return read
        if aliases or until:
            self._fail(root.key("rules"), "'rules' excludes aliases and until", "use macros, or remove these keys")
        counts_rules = field == RULE
        return replace(read, is_over_rules=True, counts_rules=counts_rules, fields=() if counts_rules else read.fields)

    def _rules(self, root: MappingNode, *, is_temporal: bool) -> tuple[str, ...] | None:
        """Return the names of rules that a correlation lists; None if it is about macros or its own condition."""
        node = root.get("rules")
        if node is None:
            return None
        hint = "list rules, as in 'rules: [First rule, Second rule]', or for counting types 'rules: {tags: [a_tag]}'"
        if root.get("macros") is not None:
            self._fail(root.key("rules"), "'rules' and 'macros' exclude each other", "remove one of them")
        if isinstance(node, MappingNode):
            mapping = self._mapping(node, "rules", ("tags",))
            if is_temporal:
                self._fail(node, "sequences need the names of rules", hint)
            if mapping is None or mapping.get("tags") is None or not self._texts(mapping, "tags", hint):
                self._fail(node, "'rules' lists no tags", hint)
            return ()
        names = tuple(each.value for each in self._texts(root, "rules", hint))
        if len(names) < (2 if is_temporal else 1) and not self.failed:
            self._fail(node, f"'rules' lists {len(names)}", hint)
        return names

    def _remembering(self, name: Kind, root: MappingNode) -> Correlation:
        lookback = self._timespan(root, "lookback", MAX_LOOKBACK)
        learning = min(_LEARNING, lookback) if root.get("learning") is None else self._timespan(root, "learning")
        if learning > lookback and not self.failed:
            hint = "values are forgotten after the lookback, so a longer learning period learns no more"
            self._fail(root.get("learning"), "'learning' is longer than 'lookback'", hint)
        if TYPES[name].counts_hosts:
            return self._prevalence(name, root, lookback, learning)
        hint = "the field whose new values count, or a list of up to 3, as in 'field: [proc.pname, proc.name]'"
        if root.get("field") is None:
            self._fail(None, "'field' is missing", f"add 'field: ...': {hint}")
        fields = self._fields(root, "field", (), MAX_VALUE_FIELDS)
        if root.get("field") is not None and not fields and not self.failed:
            self._fail(root.key("field"), "'field' is empty", hint)
        group_by = self._fields(root, "group-by", ())
        for field in fields:
            if field in group_by:
                hint = "within a group, it always has the same value"
                self._fail(root.get("field"), f"'{field}' is in 'field' and in 'group-by'", hint)
        return Correlation(name, group_by, lookback, fields=fields, learning=learning)

    def _prevalence(self, name: Kind, root: MappingNode, lookback: int, learning: int) -> Correlation:
        group_by = self._fields(root, "group-by", ())
        if not group_by and not self.failed:
            hint = "name what hosts have in common, as in 'group-by: [proc.exe.sha256]'"
            self._fail(root.key("group-by") if root.get("group-by") else None, "'group-by' is missing", hint)
        if "evt.hostname" in group_by:
            self._fail(root.get("group-by"), "'evt.hostname' is in 'group-by'", "one host is one host: remove it")
        _, threshold = self._condition(root, TYPES[name])
        return Correlation(name, group_by, lookback, threshold, learning=learning)

    def suppress(self, known: Sequence[str]) -> Suppress | None:
        root = self._mapping(self._root, "suppress", _SUPPRESS_KEYS)
        if root is None:
            return None
        return Suppress(self._fields(root, "by", known), self._timespan(root, "for"))

    def _fail(self, node: Node | None, message: str, hint: str) -> None:
        self.failed = True
        location = node_location(node if node is not None else self._root)
        self._report(Problem(ProblemCode.LOAD_ERR_EXTENSION, message, self._type, self._name, location, hint))

    def _mapping(self, node: Node | None, what: str, known: Sequence[str]) -> MappingNode | None:
        if not isinstance(node, MappingNode):
            self._fail(node, f"'{what}' is not a mapping", f"its keys are {', '.join(known)}")
            return None
        seen: set[str] = set()
        for key, _ in node.pairs:
            if not isinstance(key, ScalarNode) or key.value not in known:
                name = key.value if isinstance(key, ScalarNode) else "..."
                hint = did_you_mean(name, known) or f"the keys of '{what}' are {', '.join(known)}"
                self._fail(key, f"Unknown key '{name}' in '{what}'", hint)
            elif key.value in seen:
                self._fail(key, f"'{key.value}' occurs twice in '{what}'", "remove one")
            else:
                seen.add(key.value)
        return node

    def _text(self, mapping: MappingNode, key: str, hint: str) -> ScalarNode | None:
        node = mapping.get(key)
        if node is None:
            self._fail(mapping, f"'{key}' is missing", f"add '{key}: ...': {hint}")
        elif not isinstance(node, ScalarNode) or node.is_null or not node.value:
            self._fail(mapping.key(key) if is_null(node) else node, f"'{key}' is not a single value", hint)
        else:
            return node
        return None

    def _type_name(self, root: MappingNode) -> Kind | None:
        known = f"one of {', '.join(TYPES)}"
        node = self._text(root, "type", known)
        if node is None:
            return None
        for name in TYPES:
            if name == node.value:
                return name
        self._fail(node, f"Unknown type '{node.value}'", did_you_mean(node.value, TYPES) or known)
        return None

    def _timespan(self, mapping: MappingNode, key: str, most: int = MAX_TIMESPAN) -> int:
        node = self._text(mapping, key, f"a duration such as {_EXAMPLE}")
        if node is None:
            return 0
        timespan = parse_duration(node.value, "smhd")
        if timespan is None or not 0 < timespan <= most:
            why = "is not a valid duration" if timespan is None else f"is not between 1s and {most // UNITS['d']}d"
            self._fail(node, f"'{key}: {node.value}' {why}", f"write a number and a unit, as in {_EXAMPLE}")
            return 0
        return timespan

    def _texts(self, mapping: MappingNode, key: str, hint: str) -> list[ScalarNode]:
        node = mapping.get(key)
        if isinstance(node, ScalarNode) and not node.is_null:
            return [node]
        if not isinstance(node, SequenceNode):
            self._fail(mapping.key(key), f"'{key}' is not a list", hint)
            return []
        found: dict[str, ScalarNode] = {}
        for item in node.items:
            if not isinstance(item, ScalarNode) or item.is_null or not item.value:
                self._fail(item, f"an item of '{key}' is not a single value", hint)
            elif item.value in found:
                self._fail(item, f"'{item.value}' occurs twice in '{key}'", "remove one")
            else:
                found[item.value] = item
        return list(found.values())

    def _fields(
        self, mapping: MappingNode, key: str, names: Sequence[str], most: int = MAX_GROUP_FIELDS
    ) -> tuple[str, ...]:
        if mapping.get(key) is None:
            return ()
        found = self._texts(mapping, key, f"'{key}' is a list of fields, as in '{key}: [container.id]'")
        if len(found) > most:
            self._fail(mapping.key(key), f"'{key}' has more than {most} fields", "remove some")
        for node in found:
            if node.value not in names:
                self._check_field(node, names)
        return tuple(node.value for node in found)

    def _check_field(self, node: ScalarNode, names: Sequence[str] = ()) -> None:
        problem = field_problem(node.value)
        if problem is not None:
            nearest = did_you_mean(node.value.partition("[")[0], (*FIELDS, *names))
            self._fail(node, problem, nearest or "'lanner fields' lists the fields")
            return
        try:
            parse_output(f"%{node.value}")
        except OutputError as error:
            self._fail(node, error.message, "use a field that outputs can include")

    def _legs(self, root: MappingNode) -> tuple[str, ...]:
        hint = "list at least two macros, as in 'macros: [first_step, second_step]'"
        if root.get("macros") is None:
            self._fail(None, "'macros' is missing", hint)
            return ()
        legs = tuple(node.value for node in self._texts(root, "macros", hint))
        if not 2 <= len(legs) <= MAX_LEGS and not self.failed:
            hint = f"list at most {MAX_LEGS} macros" if len(legs) > MAX_LEGS else hint
            self._fail(root.get("macros"), f"'macros' lists {len(legs)}", hint)
        return legs

    def _until(self, root: MappingNode, legs: Sequence[str]) -> str:
        if root.get("until") is None:
            return ""
        node = self._text(root, "until", "the macro whose events end a sequence, as in 'until: logged_out'")
        if node is not None and node.value in legs:
            self._fail(node, f"'{node.value}' is in 'until' and in 'macros'", "use another macro")
        return "" if node is None else node.value

    def _aliases(self, root: MappingNode, legs: Sequence[str]) -> tuple[Alias, ...]:
        node = root.get("aliases")
        if node is None or is_null(node):
            return ()
        hint = "as in 'aliases: {source: {first_step: fd.cip, second_step: fd.sip}}'"
        if not isinstance(node, MappingNode):
            self._fail(node, "'aliases' is not a mapping", hint)
            return ()
        found = []
        for key, value in node.pairs:
            if not isinstance(key, ScalarNode) or not isinstance(value, MappingNode):
                self._fail(key, "an alias is a mapping from macros to fields", hint)
                continue
            if key.value in FIELDS:
                self._fail(key, f"alias '{key.value}' has the name of a field", "use another name")
            found.append(Alias(key.value, self._alias_fields(key, value, legs)))
        return tuple(found)

    def _alias_fields(self, key: ScalarNode, node: MappingNode, legs: Sequence[str]) -> tuple[tuple[str, str], ...]:
        fields = []
        for leg, field in node.pairs:
            if not isinstance(leg, ScalarNode) or leg.value not in legs:
                name = leg.value if isinstance(leg, ScalarNode) else "..."
                hint = did_you_mean(name, legs) or f"'macros' lists {', '.join(legs)}"
                self._fail(leg, f"alias '{key.value}' refers to '{name}', which is not in 'macros'", hint)
            elif not isinstance(field, ScalarNode) or field.is_null:
                self._fail(field, f"alias '{key.value}' has no field for '{leg.value}'", "write one field")
            else:
                self._check_field(field)
                fields.append((leg.value, field.value))
        for leg_name in legs:
            if leg_name not in dict(fields) and not self.failed:
                self._fail(key, f"alias '{key.value}' has no field for '{leg_name}'", f"add '{leg_name}: FIELD'")
        return tuple(fields)

    def _condition(self, root: MappingNode, kind: CorrelationType) -> tuple[str, int]:
        counts_values = kind.counts_values
        bounds = ("lt", "lte") if kind.counts_hosts else ("gt", "gte")
        known = ("field", *bounds) if counts_values else bounds
        example = "{field: evt.hostname, gte: 5}" if counts_values else "{lt: 3}" if kind.counts_hosts else "{gte: 20}"
        hint = f"as in 'condition: {example}'"
        node = root.get("condition")
        if node is None:
            self._fail(None, "'condition' of the correlation is missing", f"add a threshold, {hint}")
            return "", 1
        mapping = self._mapping(node, "condition", known)
        if mapping is None:
            return "", 1
        field = self._text(mapping, "field", f"the field whose values are counted, {hint}") if counts_values else None
        if field is not None and not (field.value == RULE and self._root_has_rules):
            self._check_field(field)
        found = [key for key in mapping.names() if key.value in bounds]
        if len(found) != 1:
            self._fail(mapping, f"'condition' requires either {' or '.join(bounds)}", hint)
            return "", 1
        least, most = (2, MAX_HOSTS) if kind.counts_hosts else (1, MAX_THRESHOLD)
        return "" if field is None else field.value, self._threshold(mapping, found[0], least, most)

    def _threshold(self, mapping: MappingNode, key: ScalarNode, least: int, most: int) -> int:
        node = mapping.get(key.value)
        text = node.value if isinstance(node, ScalarNode) else ""
        number = int(text) + (key.value in ("gt", "lte")) if _NUMBER.fullmatch(text) else 0
        if not least <= number <= most:
            hint = f"'{key.value}' is an integer up to {most:,}"
            self._fail(node, f"'{key.value}: {text}' is not a valid threshold", hint)
            return 1
        return number
