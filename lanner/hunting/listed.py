"""Conditions of hunts for whatever a file of indicators has: addresses and networks, digests, and names."""

from collections.abc import Mapping
from pathlib import Path

from foundation.text import count_of
from lanner.errors import BadInput
from lanner.recorder.search import SearchCondition
from processor.compiler.batch import compile_rules
from processor.indicators.lists import MixedFile, read_mixed
from processor.indicators.tables import Kind
from processor.language.ast import And, Check, Field, Listed, Node, Or, ValueList
from processor.language.tokens import IN_INDICATORS

LISTED: Mapping[Kind, tuple[str, ...]] = {
    "address": ("fd.ip", "dns.answers"),
    "name": ("dns.question.name", "tls.client.server_name"),
    "digest": ("proc.exe.sha256", "proc.script.sha256", "fd.file.sha256", "container.image.digest"),
}
"""The fields whose values are looked up, by the kind of an entry."""
_SHOWN: Mapping[Kind, tuple[str, ...]] = {"address": ("fd.sip", "dns.answers")}
"""The fields that a hunt shows of an event, where they are others."""
_NOUNS = {"address": ("address or network", "addresses and networks"), "digest": ("digest",), "name": ("name",)}
_MAX_SHOWN = 3


def read_listed(path: Path, column: str | None) -> MixedFile:
    """Read a file of indicators. column: of a CSV file, where the entries are. Raises BadInput."""
    try:
        found = read_mixed(path, column)
    except OSError as error:
        raise BadInput(f"--indicators: {path}: {error.strerror or error}.") from None
    if not found.lists:
        places = [(f"{path}:{each.line}:{each.column}", each.reason) for each in found.rejected[:_MAX_SHOWN]]
        why = [f"--indicators: {place}: {reason}." for place, reason in places]
        hint = "Write an address, a network, a digest or a name in each line; --column names that of a CSV file."
        raise BadInput(*(why or [f"--indicators: {path}: the file has no entries."]), hint)
    return found


def counted(found: MixedFile) -> str:
    """Return how many entries of each kind a file has, for people."""
    parts = [count_of(len(each.contents.table), *_NOUNS[each.kind]) for each in found.lists]
    if found.rejected_count:
        first = found.rejected[0]
        where = f"the first in line {first.line}: {first.reason}"
        parts.append(f"{count_of(found.rejected_count, 'entry', 'entries')} can't be used, {where}")
    return ", ".join(parts)


def listed_condition(found: MixedFile, condition: SearchCondition | None) -> SearchCondition:
    """Return the condition that a value of an event is in a file. condition: what its events meet as well."""
    checks: list[Node] = [
        Check(Field(name), IN_INDICATORS, ValueList((Listed(each.spec.name, indicators=each),)))
        for each in found.lists
        for name in LISTED[each.kind]
    ]
    node: Node = Or(tuple(checks)) if len(checks) > 1 else checks[0]
    if condition is not None:
        node = And((condition.node, node))
    return SearchCondition(compile_rules([node]), node, condition.warnings if condition is not None else ())


def shown_fields(found: MixedFile) -> tuple[str, ...]:
    """Return the fields that show what was found."""
    return tuple(name for each in found.lists for name in _SHOWN.get(each.kind, LISTED[each.kind]))
