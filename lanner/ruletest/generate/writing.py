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
    lines = [f"  - name: {_scalar(name)}", "    given:"]
    lines += [f"      - {_flow(event)}" for event in events]
    lines += ["    expect:", f"      - rule: {_scalar(rule)}", f"        priority: {_scalar(priority)}"]
    if shown:
        lines.append("        output_fields:")
        lines += [f"          {_scalar(key)}: {_scalar(value)}" for key, value in shown.items()]
    return "\n".join(lines) + "\n"


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_scalar(str(key))}: {_flow(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return _scalar(as_text(value))


def _scalar(text: str) -> str:
    """Write a text plain if YAML reads it back unchanged, else as a JSON string, which is YAML too."""
    if _BARE.fullmatch(text) and text.lower() not in _WORDS:
        return text
    valid = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return json.dumps(valid)
