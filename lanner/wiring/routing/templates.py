"""Templates of routes: Falco's output formats over the fields that an alert carries."""

import re
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from foundation.text import OnNote
from foundation.times import clock, clock_seconds, date_and_time, date_and_time_seconds, iso8601
from lanner.settings import Settings
from lanner.settings.faults import BadSettings, SettingFault
from lanner.settings.sections.sinks import AppendOutput
from lanner.wiring.rules import output_faults
from notifier.sink import SinkStats
from processor.output.formatter import MISSING, compile_output
from schemas.alert import Alert
from schemas.catalog.fields import FIELDS

Fill = Callable[[Alert], str]
_Piece = Callable[[Mapping[str, Any]], str]
_FIELD = re.compile(r"%([a-z][a-z0-9_]*)(?:\.\w+)+(?:\[[^\]]*\])?", re.ASCII)
_OURS = frozenset(name.split(".")[0] for name in FIELDS)
"""First words of our field names; others belong to Falco plugins, whose alerts `--listen` accepts."""


def compile_templates(settings: Settings) -> Mapping[int, Fill]:
    """Compile the templates of all routes, by the index of their route.

    Raises:
        BadSettings: with all errors.
    """
    made: dict[int, Fill] = {}
    errors: list[SettingFault] = []
    for index, each in enumerate(settings.routes):
        if each.template is None:
            continue
        name = f"routes[{index}].template"
        if faults := output_faults(name, each.template, [(at, text) for at, text in _parts(each.template) if text]):
            errors += faults
        else:
            made[index] = compile_template(each.template)
    if errors:
        raise BadSettings(*errors)
    return made


def compile_template(template: str) -> Fill:
    """Compile one template. Raises OutputError."""
    pieces = list(_pieces(template))
    return lambda alert: "".join(piece(values) for values in [values_of(alert)] for piece in pieces)


def or_own_text(fill: Fill, name: str, stats: SinkStats, report: OnNote) -> Fill:
    """Return a template that never raises: an exception is counted, reported once, and the rule's text is used."""

    def filled(alert: Alert) -> str:
        try:
            return fill(alert)
        except Exception as error:  # noqa: BLE001  hostile values may make generated code raise anything
            stats.condition_faults += 1
            if stats.condition_faults == 1:
                what = f"the template failed for alert {alert.id} ({type(error).__name__})"
                report(f"{name}: {what}; the rule's own output is used.")
            return alert.output

    return filled


def _pieces(template: str) -> Iterator[_Piece]:
    start = 0
    for at, text in _parts(template):
        if at > start:
            yield _foreign(template[start + 1 : at])
        if text:
            yield _own(text)
        start = at + len(text)


def _parts(template: str) -> Iterator[tuple[int, str]]:
    """Yield the parts before, between and after fields of Falco's plugins, each with its offset."""
    start = 0
    for found in _FIELD.finditer(template):
        if found.group(1) not in _OURS:
            yield start, template[start : found.start()]
            start = found.end()
    yield start, template[start:]


def _own(text: str) -> _Piece:
    # compile_output() drops an asterisk at the beginning.
    fill = compile_output(f"*{text}").fill
    return lambda values: fill(values).text


def _foreign(name: str) -> _Piece:
    def shown(values: Mapping[str, Any]) -> str:
        value = values.get(name)
        return MISSING if value is None else str(value)

    return shown


def values_of(alert: Alert) -> Mapping[str, Any]:
    """Return the values of an alert by the names of fields."""
    own = {
        "evt.hostname": alert.hostname,
        "evt.source": alert.source,
        "evt.rawtime": alert.time,
        "evt.time": clock(alert.time),
        "evt.time.s": clock_seconds(alert.time),
        "evt.time.iso8601": iso8601(alert.time, utc=True),
        "evt.datetime": date_and_time(alert.time),
        "evt.datetime.s": date_and_time_seconds(alert.time),
    }
    given = {name: value for name, value in alert.output_fields.items() if value is not None}
    return ChainMap(own, given, dict(alert.event))


Adds = Callable[[Alert], Alert]


def appended(settings: Settings) -> Adds:
    """Return a function that adds text and fields to an alert of any rule. Raises OutputError."""
    entries = [_entry(item) for item in settings.append_output if item.extra_output or item.extra_fields]

    def add(alert: Alert) -> Alert:
        for matches, text, fields in entries:
            if matches(alert):
                output = alert.output if text is None else f"{alert.output} {text(alert)}"
                added = {name: value(alert) for name, value in fields}
                alert = replace(alert, output=output, output_fields={**alert.output_fields, **added})
        return alert

    return add


def _entry(
    item: AppendOutput,
) -> tuple[Callable[[Alert], bool], Fill | None, Sequence[tuple[str, Callable[[Alert], Any]]]]:
    match = item.match

    def matches(alert: Alert) -> bool:
        return (
            match.source in (None, alert.source)
            and match.rule in (None, alert.rule)
            and set(match.tags) <= set(alert.tags)
        )

    text = None if item.extra_output is None else compile_template(item.extra_output)
    return matches, text, [(each.name, _value(each.name, each.format)) for each in item.extra_fields]


def _value(name: str, form: str | None) -> Callable[[Alert], Any]:
    if form is not None:
        return compile_template(form)
    return lambda alert: values_of(alert).get(name)
