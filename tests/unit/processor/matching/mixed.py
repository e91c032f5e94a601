"""Rules on audit events and system calls together, and events for them."""

from typing import Any

from foundation.quantities import iso8601_zulu
from processor.fields.json.documents import Document, event_of
from tests.unit.processor.correlation.rules import SECOND, START, rule
from tests.unit.processor.detection.requests import request

LEGS = """
- macro: secret_requested
  condition: ka.target.resource = secrets and ka.verb = get
- macro: file_opened
  condition: evt.type = openat and evt.is_open_read = true
"""
BOTH = """
- macro: both
  correlation:
    type: {type}
    macros: [secret_requested, file_opened]
    group-by: [name]
    aliases: {{name: {{secret_requested: ka.target.name, file_opened: fd.name}}}}
    timespan: 60s
"""
SOURCE = "source: k8s_audit"


def on_audit(condition: str, output: str = "found", *more: str, name: str = "Found") -> str:
    """Write a rule on audit events."""
    return rule(condition, output, SOURCE, *more, name=name)


def asked(seconds: float, name: str = "db", user: str = "alice", identity: str = "") -> Document:
    """Return the audit event of a request for a secret, so many seconds after the start."""
    time = START + round(seconds * SECOND)
    document: dict[str, Any] = request(
        auditID=identity or f"{seconds} {name} {user}",
        stageTimestamp=iso8601_zulu(time),
        user={"username": user, "groups": ["dev"]},
        objectRef={"resource": "secrets", "namespace": "prod", "name": name},
    )
    return event_of(document, 0, None)
