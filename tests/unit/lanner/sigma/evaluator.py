"""A slow evaluator of Sigma rules, written from the specification: YAML and records in, true or false out.

It shares nothing with pySigma or Lanner. Source: https://github.com/SigmaHQ/sigma-specification.
"""

import base64
import ipaddress
import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import re2

Record = Mapping[str, Any]
DASHES = "-/–—―"
_TOKEN = re.compile(r"\(|\)|[^\s()]+")
_FLAG = re.compile(r"\B[-/]\b")


def matches(rule: Mapping[str, Any], records: Sequence[Record]) -> bool:
    """Return whether the records of one event match a rule."""
    detection = dict(rule["detection"])
    condition = detection.pop("condition")
    conditions = condition if isinstance(condition, list) else [condition]
    default = _only_type(detection)
    results = {name: _selection(value, _of_default(records, value, default)) for name, value in detection.items()}
    return any(_Condition(text, results).value() for text in conditions)


def _only_type(detection: Mapping[str, Any]) -> str | None:
    """Return the type of auditd's records that selections without a type are about."""
    found = {str(value).upper() for item in _maps(list(detection.values())) for value in _listed(item.get("type", []))}
    return next(iter(found)) if len(found) == 1 else None


def _maps(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, Mapping):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _maps(item)


def _of_default(records: Sequence[Record], value: Any, default: str | None) -> Sequence[Record]:
    named = any("type" in item for item in _maps(value))
    if default is None or named:
        return records
    return [record for record in records if record.get("type", default) == default]


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _selection(value: Any, records: Sequence[Record]) -> bool:
    if isinstance(value, Mapping):
        return any(all(_item(key, _listed(wanted), record) for key, wanted in value.items()) for record in records)
    if isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        return any(_selection(item, records) for item in value)
    return any(_keyword(word, record) for word in _listed(value) for record in records)


def _keyword(word: Any, record: Record) -> bool:
    """Search the line of a record."""
    return _like(f"*{word}*", str(record.get("line", "")))


def _item(key: str, wanted: list[Any], record: Record) -> bool:
    name, *modifiers = key.split("|")
    everyone = all if "all" in modifiers else any
    if not name:
        return everyone(_keyword(word, record) for word in wanted)
    if "exists" in modifiers:
        return (record.get(name) is not None) is wanted[0]
    found = everyone(_value(record, name, modifiers, each) for each in wanted)
    return not found if "neq" in modifiers else found


def _value(record: Record, name: str, modifiers: Sequence[str], wanted: Any) -> bool:
    actual = record.get(name)
    if wanted is None:
        return actual is None
    if "fieldref" in modifiers:
        return actual is not None and _related(str(actual), record.get(wanted), modifiers)
    if actual is None:
        return False
    for operator, test in _ORDER.items():
        if operator in modifiers:
            return test(int(actual), int(wanted))
    if "cidr" in modifiers:
        return ipaddress.ip_address(actual) in ipaddress.ip_network(wanted)
    if "re" in modifiers:
        flags = "".join(flag for flag in "ims" if flag in modifiers)
        return re2.compile((f"(?{flags})" if flags else "") + wanted).search(str(actual)) is not None
    text = str(wanted).lower() if isinstance(wanted, bool) else str(wanted)
    return any(_like(pattern, str(actual), cased="cased" in modifiers) for pattern in _patterns(text, modifiers))


_ORDER: Mapping[str, Callable[[int, int], bool]] = {
    "lt": lambda a, b: a < b,
    "lte": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "gte": lambda a, b: a >= b,
}


def _related(actual: str, other: Any, modifiers: Sequence[str]) -> bool:
    if other is None:
        return False
    one, two = _lower(actual), _lower(str(other))
    if "startswith" in modifiers:
        return one.startswith(two)
    return one.endswith(two) if "endswith" in modifiers else two in one if "contains" in modifiers else one == two


def _patterns(text: str, modifiers: Sequence[str]) -> list[str]:
    """Return what modifiers make of a text, in the order in which they are written."""
    found = [text]
    for modifier in modifiers:
        if modifier == "windash":
            found = [made for each in found for made in _dashed(each)]
        elif modifier == "base64":
            found = [base64.b64encode(each.encode()).decode() for each in found]
        elif modifier == "base64offset":
            found = [made for each in found for made in _offsets(each)]
        elif modifier in ("contains", "startswith", "endswith"):
            before = "" if modifier == "startswith" else "*"
            found = [f"{before}{each}{'' if modifier == 'endswith' else '*'}" for each in found]
    return found


def _dashed(text: str) -> Iterator[str]:
    places = [match.start() for match in _FLAG.finditer(text)]
    for dashes in itertools.product(DASHES, repeat=len(places)):
        letters = list(text)
        for place, dash in zip(places, dashes, strict=True):
            letters[place] = dash
        yield "".join(letters)


def _offsets(text: str) -> Iterator[str]:
    """Yield what is the same in base64 whatever stands before and after a text."""
    for offset in range(3):
        encoded = base64.b64encode(b" " * offset + text.encode()).decode()
        cut = {0: None, 1: -3, 2: -2}[(len(text.encode()) + offset) % 3]
        yield encoded[(0, 2, 3)[offset] : cut]


def _lower(text: str) -> str:
    return "".join(letter.lower() if letter.isascii() else letter for letter in text)


def _like(pattern: str, text: str, *, cased: bool = False) -> bool:
    """Match a pattern with `*`, `?` and backslashes against a whole text, character by character."""
    if not cased:
        pattern, text = _lower(pattern), _lower(text)
    parts: list[str] = []
    index = 0
    while index < len(pattern):
        letter = pattern[index]
        following = pattern[index + 1 : index + 2]
        if letter == "\\" and following and following in "*?\\":
            parts.append(re.escape(following))
            index += 1
        else:
            parts.append({"*": ".*", "?": "."}.get(letter, re.escape(letter)))
        index += 1
    return re.fullmatch("".join(parts), text, re.DOTALL) is not None


class _Condition:
    """The condition of a rule, read and evaluated in one pass."""

    def __init__(self, text: str, results: Mapping[str, bool]) -> None:
        self._tokens = _TOKEN.findall(text)
        self._results = results

    def value(self) -> bool:
        """Return the result of a disjunction."""
        found = self._conjunction()
        while self._take("or"):
            found = self._conjunction() or found
        return found

    def _conjunction(self) -> bool:
        found = self._negation()
        while self._take("and"):
            found = self._negation() and found
        return found

    def _negation(self) -> bool:
        if self._take("not"):
            return not self._negation()
        if self._take("("):
            found = self.value()
            self._take(")")
            return found
        word = self._tokens.pop(0)
        if self._take("of"):
            pattern = self._tokens.pop(0)
            chosen = [
                value
                for name, value in self._results.items()
                if (pattern == "them" and not name.startswith("_")) or re.fullmatch(pattern.replace("*", ".*"), name)
            ]
            return all(chosen) if word == "all" else any(chosen)
        return self._results[word]

    def _take(self, word: str) -> bool:
        if self._tokens and self._tokens[0].lower() == word:
            self._tokens.pop(0)
            return True
        return False
