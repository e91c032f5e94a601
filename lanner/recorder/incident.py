"""Reads what the header of an incident's recording states, which `lanner console` exports.

A file from somebody else: its header may state anything.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from schemas.codec import BadBatch
from schemas.encoding.recording import is_container, read_metadata
from schemas.text.counts import count_of

INCIDENT = "lanner.incident"
"""Name of the JSON in the file's header."""
_MAX_SHOWN = 5


def read_incident(path: Path) -> Mapping[str, Any] | None:
    """Return what the header of a recording states about an incident; None if it is another file. Raises OSError."""
    try:
        with path.open("rb") as file:
            if not is_container(file.peek(1)):
                return None
            stated = json.loads(read_metadata(file, path).get(INCIDENT, b"null"))
    except (BadBatch, ValueError, RecursionError):
        # The reader of its events reports that the file is damaged.
        return None
    return stated if isinstance(stated, dict) else None


def incident_lines(stated: Mapping[str, Any]) -> list[str]:
    """Return sentences for people; texts are as stated."""
    alerts = _list(stated, "alerts")
    rules = dict.fromkeys(str(each.get("rule")) for each in alerts if isinstance(each, dict))
    span = f"{_text(stated, 'since')} to {_text(stated, 'until')}"
    count = count_of(len(alerts), "alert")
    lines = [f"incident of {span} on {_joined(_list(stated, 'hosts'))}, with {count} then: {_joined(list(rules))}"]
    if versions := _list(stated, "rules_versions"):
        lines.append(f"versions of the rules then: {_joined(versions)}")
    if remark := stated.get("remark"):
        lines.append(str(remark))
    return lines


def _list(stated: Mapping[str, Any], name: str) -> list[Any]:
    found = stated.get(name)
    return found if isinstance(found, list) else []


def _text(stated: Mapping[str, Any], name: str) -> str:
    return str(stated.get(name, "?"))


def _joined(texts: list[Any]) -> str:
    more = f" and {len(texts) - _MAX_SHOWN} more" if len(texts) > _MAX_SHOWN else ""
    return ", ".join(map(str, texts[:_MAX_SHOWN])) + more if texts else "none"
