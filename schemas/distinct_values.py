"""The distinct values of alerts that are counted instead of sent: a few of each field, and how often each came.

Whoever causes alerts chooses most of their values: a thousand decoys, and one that matters. So values with a common
beginning make room first, from the longest beginning and the most values on: a thousand files in /tmp/decoys become one
entry, and a file elsewhere remains. The first and the newest of values with one beginning remain, too.

Pure.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

from schemas.alert import Alert, Value

Values = Mapping[str, Mapping[str, int]]
"""By field: each value, in the order in which they came, with its number of alerts. A value that ends in … stands for
those that begin so."""

MOST_VALUES = 10
_ROOM = 64
MAX_FIELDS = 32
"""Fields whose values are counted."""
_LENGTH = 200
"""Characters of a value."""
ANY = "…"
_SEARCHED = 4_096
"""Characters of a value that are searched for secrets."""
_SEPARATORS = frozenset("/: ")
"""Characters behind which values begin to differ: in paths, addresses with ports, command lines."""
_DEPTH = 8
_TIMES = ("evt.time", "evt.rawtime", "evt.datetime", "evt.reltime", "evt.latency", "evt.num", "proc.duration")
"""Beginnings of the names of fields that differ for every event."""
_OBJECTS = ("fd", "fs", "evt")
"""Families of fields about what was done; if one of these fields differs, the others may."""
_ALIKE = {"process": "proc", "event": "evt"}
"""ECS's names of families, and Falco's."""
_OF_HOST = ("host", "agent")
"""Families of fields that differ between hosts."""


def masked(fields: Mapping[str, Value], redact: Callable[[Alert], Alert]) -> Mapping[str, Value]:
    """Return the fields whose values are counted, without secrets."""
    texts = {
        name: value[:_SEARCHED]
        for name, value in fields.items()
        if isinstance(value, str) and value and not name.startswith(_TIMES)
    }
    return redact(Alert("", 0, "", "", "", texts)).output_fields


def values_in(fields: Mapping[str, Value], weight: int) -> Values:
    """Return the values of one alert's masked fields. weight: how many alerts it stands for."""
    texts = {name: _text(value) for name, value in fields.items()}
    return {name: {_shortened(name, text): weight} for name, text in texts.items() if text is not None}


def _text(value: Value) -> str | None:
    """Return a text or the elements of a list as text; None for others."""
    return ", ".join(value) if isinstance(value, tuple) else value if isinstance(value, str) else None


def note(values: dict[str, dict[str, int]], others: Values) -> None:
    """Add others that came later. More than MOST_VALUES remain for a while: room is made for many at once."""
    for name, counts in others.items():
        if name not in values and len(values) >= MAX_FIELDS:
            continue
        own = values.setdefault(name, {})
        for value, count in counts.items():
            own[value] = own.get(value, 0) + count
        if len(own) > _ROOM:
            _make_room(own)


def merged(values: Values, others: Values) -> Values:
    """Return values with others that came later, at most MOST_VALUES of each field."""
    found = {name: dict(counts) for name, counts in values.items()}
    note(found, others)
    for counts in found.values():
        _make_room(counts)
    return found


def differing(values: Values, alert: Alert) -> Values:
    """Return the values of fields in which alerts differ from each other or from one of them."""
    found = {}
    stated = {"evt.hostname": alert.hostname, **alert.event, **alert.output_fields}
    for name, counts in values.items():
        own = _text(stated.get(name))
        if len(counts) > 1 or own is None or _shortened(name, own) not in counts:
            found[name] = counts
    return dict(sorted(found.items(), key=lambda each: _family(each[0]) not in _OBJECTS[:2]))


def text_of(values: Values) -> str:
    """Return values as one text."""
    return "; ".join(f"{name}: {listed(counts)}" for name, counts in values.items())


def listed(counts: Mapping[str, int]) -> str:
    """Return the values of one field as text, the rarest first."""
    return ", ".join(value if counts[value] == 1 else f"{value} ({counts[value]} times)" for value in _ranked(counts))


def without(alert: Alert, values: Values) -> Alert:
    """Return an alert that states these values instead of its own, and nothing else in which others may differ."""
    fields = {**alert.output_fields, **{name: tuple(_ranked(counts)) for name, counts in values.items()}}
    families = _families(values)
    event = {name: value for name, value in alert.event.items() if name == "evt.type" or _family(name) not in families}
    return replace(alert, output_fields=fields, event={name: event[name] for name in event if name not in values})


def may_differ(summary: Alert, names: Iterable[str]) -> bool:
    """Return whether the repeats that a summary stands for may differ in fields."""
    differ = [name for name, value in summary.output_fields.items() if isinstance(value, tuple)]
    families = _families(differ)
    return any(name in differ or (_family(name) in families and name not in summary.event) for name in names)


def _families(names: Iterable[str]) -> set[str]:
    found = {family for name in names for family in (_family(name), *(_OF_HOST if name == "evt.hostname" else ()))}
    return found if found.isdisjoint(_OBJECTS) else found | set(_OBJECTS)


def encode_values(values: Values) -> bytes:
    """Return values as bytes."""
    return json.dumps(values).encode() if values else b""


def decode_values(data: bytes) -> Values:
    """Return values from bytes. Raises ValueError."""
    return {name: {value: int(n) for value, n in counts.items()} for name, counts in json.loads(data or b"{}").items()}


def _make_room(counts: dict[str, int]) -> None:
    """Replace values by others that stand for them, until there are at most MOST_VALUES."""
    while len(counts) > MOST_VALUES:
        alike: dict[tuple[int, str], list[str]] = {}
        for value in counts:
            for depth, beginning in enumerate(_beginnings(value)):
                alike.setdefault((depth, beginning), []).append(value)
        (_, beginning), values = max(
            ((place, values) for place, values in alike.items() if len(values) > 1),
            key=lambda each: (each[0][0], len(each[1])),
        )
        other = beginning + ANY
        others = [value for value in values if value != other]
        surplus = len(counts) - MOST_VALUES + (other not in counts)
        # Among those that begin alike, the first and the newest remain if others can go.
        replaced = others[1:-1][-surplus:] or (others[:1] if other in counts else others)
        counts[other] = counts.get(other, 0) + sum([counts.pop(value) for value in replaced])


def _ranked(counts: Mapping[str, int]) -> list[str]:
    """Return the values, those first that do not begin like many, then the rarest."""
    many = tuple(value.removesuffix(ANY) for value in counts if value.endswith(ANY))
    return sorted(counts, key=lambda value: (value.startswith(many), counts[value]))


def _beginnings(value: str) -> Iterator[str]:
    yield ""
    ends = (end for end, character in enumerate(value[:-1], 1) if character in _SEPARATORS)
    for _, end in zip(range(_DEPTH), ends, strict=False):
        yield value[:end]


def without_client_port(name: str) -> str:
    """Return fd.name without the client's port, which differs for each connection."""
    client, arrow, server = name.partition("->")
    return name if name.startswith("/") or not arrow else f"{client.rpartition(':')[0]}->{server}"


def _shortened(name: str, value: str) -> str:
    if name == "fd.name":
        value = without_client_port(value)
    return value if len(value) <= _LENGTH else value[: _LENGTH - 1] + ANY


def _family(name: str) -> str:
    family = name.partition(".")[0]
    return _ALIKE.get(family, family)
