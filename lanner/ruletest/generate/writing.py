"""Writes a test case as YAML."""

from collections.abc import Iterable, Mapping
from typing import Any

from lanner.ruletest.values import Fields
from processor.compiler.values.transformers import as_text
from schemas.yaml.writing import yaml_scalar

_RETAINED = frozenset({"evt.time", "evt.rawtime", "evt.num", "proc.pid", "proc.ppid", "thread.tid", "evt.hostname"})


def case_text(name: str, events: Iterable[Mapping[str, Any]], rule: str, priority: str, fields: Fields) -> str:
    """Return a case as YAML.

    Args:
        name: of the case.
        events: results of `write_event`.
        rule: the expected rule.
        priority: of the alert.
        fields: of the alert; those that differ with each run are omitted.
    """
    shown = {
        key: as_text(value)
        for key, value in fields.items()
        if value not in (None, "<NA>") and key not in _RETAINED and not key.startswith("evt.time")
    }
    lines = [f"  - name: {yaml_scalar(name)}", "    given:"]
    lines += [f"      - {flow_text(event)}" for event in events]
    lines += ["    expect:", f"      - rule: {yaml_scalar(rule)}", f"        priority: {yaml_scalar(priority)}"]
    if shown:
        lines.append("        output_fields:")
        lines += [f"          {yaml_scalar(key)}: {yaml_scalar(value)}" for key, value in shown.items()]
    return "\n".join(lines) + "\n"


def quiet_case_text(name: str, events: Iterable[Mapping[str, Any]], rule: str) -> str:
    """Return a case that expects no alert as YAML.

    Args:
        name: of the case.
        events: results of `write_event`.
        rule: the rule that it is about.
    """
    lines = [f"  - name: {yaml_scalar(name)}", "    given:"]
    lines += [f"      - {flow_text(event)}" for event in events]
    return "\n".join([*lines, "    expect: none", f"    about: {yaml_scalar(rule)}"]) + "\n"


def flow_text(value: Any) -> str:
    """Write a value as YAML on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{yaml_scalar(str(key))}: {flow_text(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(flow_text, value)) + "]"
    return yaml_scalar(as_text(value))
