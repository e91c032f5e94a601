"""Writes a test case as YAML."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from lanner.ruletest.values import Fields
from processor.compiler.values.transformers import as_text

_BARE = re.compile(r"[A-Za-z0-9_./][A-Za-z0-9_./|+@ -]*[A-Za-z0-9_./|+@-]|[A-Za-z0-9_./]")
_WORDS = frozenset({"null", "~", "yes", "no", "true", "false", "none"})
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
    lines = [f"  - name: {scalar_text(name)}", "    given:"]
    lines += [f"      - {flow_text(event)}" for event in events]
    lines += ["    expect:", f"      - rule: {scalar_text(rule)}", f"        priority: {scalar_text(priority)}"]
    if shown:
        lines.append("        output_fields:")
        lines += [f"          {scalar_text(key)}: {scalar_text(value)}" for key, value in shown.items()]
    return "\n".join(lines) + "\n"


def quiet_case_text(name: str, events: Iterable[Mapping[str, Any]], rule: str) -> str:
    """Return a case that expects no alert as YAML.

    Args:
        name: of the case.
        events: results of `write_event`.
        rule: the rule that it is about.
    """
    lines = [f"  - name: {scalar_text(name)}", "    given:"]
    lines += [f"      - {flow_text(event)}" for event in events]
    return "\n".join([*lines, "    expect: none", f"    about: {scalar_text(rule)}"]) + "\n"


def flow_text(value: Any) -> str:
    """Write a value as YAML on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{scalar_text(str(key))}: {flow_text(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(flow_text, value)) + "]"
    return scalar_text(as_text(value))


def scalar_text(text: str) -> str:
    """Write a text plain if YAML reads it back unchanged, else as a JSON string, which is YAML too."""
    if _BARE.fullmatch(text) and text.lower() not in _WORDS:
        return text
    valid = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return json.dumps(valid)
