"""Comparisons of a field with Sigma's values, as nodes of Lanner's conditions.

Sigma ignores case. Only ASCII has it in Lanner's language: `tolower` is applied if a value
has such characters. Comparing its result is faster than `icontains` and `iglob`, which fold both sides each time.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sigma.exceptions import SigmaFeatureNotSupportedByBackendError
from sigma.types import SigmaRegularExpression, SigmaString, SpecialChars

from lanner.sigma.regex import UnsupportedRegex, to_lanner
from processor.compiler.operands import ADDRESS_TYPES, NUMBER_TYPES, STRING_TYPES, field_shape, is_host_name
from processor.compiler.operands import FIELDS as HOST_NAMES
from processor.compiler.operators import lower, upper
from processor.language.ast import (
    And,
    Check,
    Field,
    FieldValue,
    Literal,
    MacroRef,
    Modifier,
    Node,
    Not,
    Or,
    Transformer,
    ValueList,
)
from schemas.catalog.fields import NUMBERED, resolve_field

ALWAYS = And(())
NEVER = Or(())
NETS = {"fd.sip": "fd.snet", "fd.cip": "fd.cnet", "fd.lip": "fd.lnet", "fd.rip": "fd.rnet", "fd.ip": "fd.net"}
"""The field that compares an address with networks."""
PATHS = frozenset({"proc.exepath", "proc.pexepath", "proc.cwd", "fd.name", "fs.path.name"})
_MERGED = ("=", "contains", "startswith", "endswith")
_GLOB_SPECIAL = "\\*?["
_REGEX_SPECIAL = ".[](){}*+?|^$\\"


def unsupported(reason: str) -> SigmaFeatureNotSupportedByBackendError:
    """Return the error for what can't be converted."""
    return SigmaFeatureNotSupportedByBackendError(reason)


@dataclass(frozen=True, slots=True)
class Checks:
    """Makes comparisons."""

    exact_paths: bool = False
    """True if the case of paths matters."""

    def text(self, name: str, value: SigmaString, *, is_cased: bool = False) -> Node:
        """Return the comparison of a field with a text that may have wildcards."""
        field, kind = find(name)
        parts: Sequence[object] = tuple(value.s)
        if any(not isinstance(part, str | SpecialChars) for part in parts):
            raise unsupported("a placeholder: replace it by a pipeline of pySigma first")
        if name in HOST_NAMES:
            return self._host(field, parts)
        if kind in ADDRESS_TYPES:
            return _address(field, parts)
        if kind in NUMBER_TYPES:
            return number(name, "".join(part if isinstance(part, str) else "*" for part in parts))
        if kind not in STRING_TYPES:
            raise unsupported(f"{name} has no text to compare")
        operator, text = _operator(parts)
        if operator == "exists":
            return Check(field, "exists")
        if is_cased or (self.exact_paths and name in PATHS) or text == lower(text) == upper(text):
            return Check(field, operator, _literal(text))
        folded = lower(text)
        return Check(Transformer("tolower", (field,)), operator, _literal(folded))

    def _host(self, field: Field, parts: Sequence[object]) -> Node:
        name = "".join(part if isinstance(part, str) else "*" for part in parts)
        if not is_host_name(name):
            raise unsupported(
                f"'{name}' is a part of a host name: Lanner looks up the names in rules, never the addresses of events"
            )
        return Check(field, "=", _literal(lower(name)))


def find(name: str) -> tuple[Field, str]:
    """Return a field and its type. Raises SigmaFeatureNotSupportedByBackendError for one that Lanner doesn't have."""
    found = resolve_field(name)
    if found is None:
        raise unsupported(f"the field {name} has no equivalent")
    # Rules write a named argument of an event after a dot, not in brackets.
    field = Field(name) if found[0].name in NUMBERED else Field(found[0].name, found[1])
    return field, field_shape(field).kind


def number(name: str, text: str, operator: str = "=") -> Node:
    """Return the comparison of a field with a number, which a text field has in decimal."""
    field, kind = find(name)
    if kind in STRING_TYPES and operator == "=":
        return Check(field, "=", _literal(text))
    if kind not in NUMBER_TYPES:
        raise unsupported(f"{name} is not a number")
    if not text.lstrip("-").isdigit():
        raise unsupported(f"{name} is a number, and '{text}' is not")
    return Check(field, operator, Literal(text))


def regex(name: str, value: SigmaRegularExpression) -> Node:
    """Return the search for a regular expression in a field."""
    field, kind = find(name)
    if kind not in STRING_TYPES:
        raise unsupported(f"{name} has no text to search in")
    flags = "".join(value.sigma_to_re_flag[flag] for flag in value.flags)
    try:
        return Check(field, "regex", _literal(to_lanner(str(value.regexp), flags)))
    except UnsupportedRegex as error:
        raise unsupported(str(error)) from None


def network(name: str, network_text: str) -> Node:
    """Return the comparison of an address with a network."""
    find(name)
    if name not in NETS:
        raise unsupported(f"{name} is not an address")
    return Check(Field(NETS[name]), "=", Literal(network_text))


def fields(name: str, other: str, operator: str) -> Node:
    """Return the comparison of two fields."""
    (left, kind), (right, other_kind) = find(name), find(other)
    if kind in STRING_TYPES and other_kind in STRING_TYPES:
        return Check(Transformer("tolower", (left,)), operator, Transformer("tolower", (right,)))
    if operator != "=":
        raise unsupported(f"{name} has no text to compare")
    return Check(left, operator, FieldValue(right))


def _address(field: Field, parts: Sequence[object]) -> Node:
    text = "".join(part if isinstance(part, str) else "*" for part in parts)
    octets = text.removesuffix("*").removesuffix(".").split(".")
    if text.endswith(".*") and 0 < len(octets) < 4 and all(octet.isdigit() for octet in octets):
        padded = ".".join([*octets, "0", "0", "0"][:4])
        return network(field.name, f"{padded}/{8 * len(octets)}")
    try:
        ipaddress.ip_address(text)
    except ValueError:
        raise unsupported(f"'{text}' is neither an address nor the first numbers of one") from None
    return Check(field, "=", _literal(text))


def _literal(text: str) -> Literal:
    return Literal(text, quoted=True)


def _operator(parts: Sequence[object]) -> tuple[str, str]:
    """Return the operator and the value for a text with wildcards."""
    many = SpecialChars.WILDCARD_MULTI
    texts = [part for part in parts if isinstance(part, str)]
    plain = "".join(texts)
    wild = [part for part in parts if not isinstance(part, str)]
    if not wild:
        return "=", plain
    if all(part == many for part in wild):
        if not texts:
            return "exists", ""
        if len(texts) == 1:
            before, after = parts[0] == many, parts[-1] == many
            return ("contains" if before and after else "endswith" if before else "startswith"), plain
        return "glob", "".join(_glob(part) for part in parts)
    # In a glob, `?` is a byte; in Sigma, it is a character.
    return "regex", "".join(_regex(part) for part in parts)


def _glob(part: object) -> str:
    if not isinstance(part, str):
        return "*"
    return "".join(f"\\{character}" if character in _GLOB_SPECIAL else character for character in part)


def _regex(part: object) -> str:
    if not isinstance(part, str):
        return "(.|\n)*" if part == SpecialChars.WILDCARD_MULTI else "(.|\n)"
    return "".join(f"\\{character}" if character in _REGEX_SPECIAL else character for character in part)


def all_of(nodes: Iterable[Node]) -> Node:
    """Return the conjunction of conditions; comparisons of one field are merged."""
    flat = [inner for node in nodes for inner in (node.children if isinstance(node, And) else (node,))]
    macros = [node for node in flat if isinstance(node, MacroRef)]
    flat = [node if node in macros else _assuming(node, macros) for node in flat]
    if NEVER in flat:
        return NEVER
    merged = _merged([node for node in flat if node != ALWAYS], "allof")
    return merged[0] if len(merged) == 1 else And(tuple(merged))


def _assuming(node: Node, known: Sequence[Node]) -> Node:
    """Simplify a condition where macros are true already."""
    if node in known:
        return ALWAYS
    if isinstance(node, Not):
        return negation(_assuming(node.child, known))
    if isinstance(node, And | Or) and node.children:
        join = all_of if isinstance(node, And) else any_of
        return join([_assuming(child, known) for child in node.children])
    return node


def any_of(nodes: Iterable[Node]) -> Node:
    """Return the disjunction of conditions; comparisons of one field are merged."""
    flat = [inner for node in nodes for inner in (node.children if isinstance(node, Or) else (node,))]
    if ALWAYS in flat:
        return ALWAYS
    merged = _merged([node for node in flat if node != NEVER], "anyof")
    return merged[0] if len(merged) == 1 else Or(tuple(merged))


def negation(node: Node) -> Node:
    """Return the negation of a condition."""
    if node in (ALWAYS, NEVER):
        return NEVER if node == ALWAYS else ALWAYS
    return node.child if isinstance(node, Not) else Not(node)


def _merged(nodes: Sequence[Node], modifier: Modifier) -> list[Node]:
    """Replace comparisons of one field by the same operator with one comparison with all of their values."""
    groups: dict[object, list[Check]] = {}
    order: list[object] = []
    for node in nodes:
        key: object = node
        if isinstance(node, Check) and node.operator in _MERGED and _is_plain(node, modifier):
            key = (_field(node), node.operator)
            groups.setdefault(key, []).append(node)
        if key not in order:
            order.append(key)
    return [_together(groups[key], modifier) if key in groups else key for key in order]  # type: ignore[misc]


def _is_plain(node: Check, modifier: Modifier) -> bool:
    if node.operator == "=" and modifier == "allof":
        return False
    return isinstance(node.right, Literal) and node.modifier is None


def _field(node: Check) -> object:
    """Return the field, and whether it is compared without case; a value without case fits either way."""
    if isinstance(node.left, Transformer):
        return node.left.arguments[0], True
    text = node.right.text if isinstance(node.right, Literal) else ""
    return node.left, text == lower(text) == upper(text) or field_shape(node.left).kind not in STRING_TYPES


def _together(checks: Sequence[Check], modifier: Modifier) -> Node:
    if len(checks) == 1:
        return checks[0]
    values = dict.fromkeys(check.right.text for check in checks if isinstance(check.right, Literal))
    quoted = tuple(_literal(text) for text in values)
    left = next((check.left for check in checks if isinstance(check.left, Transformer)), checks[0].left)
    if len(quoted) == 1:
        return Check(left, checks[0].operator, quoted[0])
    if checks[0].operator == "=":
        return Check(left, "in", ValueList(quoted))
    return Check(left, checks[0].operator, ValueList(quoted), modifier)
