"""Adds to alerts of Falco what `append_output` adds to those of Lanner's own rules."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from lanner.settings import Settings
from lanner.settings.sections.model import AppendOutput
from lanner.wiring.routes.templates import Fill, compile_template, values_of
from schemas.alert import Alert

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
