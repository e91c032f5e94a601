"""The sources whose events a leg of a stateful macro takes: those that have all fields that it reads."""

from collections.abc import Iterable

from processor.language.ast import Node, checks, fields_in
from schemas.catalogue.fields import FIELDS, FieldSpec, resolve_field
from schemas.catalogue.sources import SOURCES, has_field


def sources_of(condition: Node | None, fields: Iterable[str] = ()) -> frozenset[str]:
    """Return the sources whose events have all fields of a condition and all others.

    Args:
        condition: the tree, with macros resolved; None for none.
        fields: as rules write them; names of groups and unknown fields are ignored.
    """
    read = set(fields)
    for check in () if condition is None else checks(condition):
        for side in (check.left, check.right):
            read.update(
                field.name if field.argument is None else f"{field.name}[{field.argument}]" for field in fields_in(side)
            )
    specs = [spec for name in read if (spec := _spec(name)) is not None]
    return frozenset(source for source in SOURCES if all(has_field(source, spec) for spec in specs))


def _spec(name: str) -> FieldSpec | None:
    found = resolve_field(name)
    return FIELDS.get(name) if found is None else found[0]
