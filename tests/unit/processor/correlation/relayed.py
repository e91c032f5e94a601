"""Rules that count by client, as legs of macros that count by host and in the fleet, and events for them."""

from schemas.batch import EventBatch, EventBit
from tests.unit.processor.correlation.rules import Host, rule, ruleset_of

BY_HOST = "group-by: [evt.hostname], timespan: 1m"
PARTS = "".join(
    rule(condition, "o", name=name)
    for name, condition in (
        ("Accepts", "accepts"),
        ("Download", "evt.type = openat and proc.name = curl"),
        ("Run", "evt.type = execve and proc.name = evil"),
    )
)
RULESET = ruleset_of(
    f"""
- macro: accepts
  condition: evt.type = accept4
  correlation: {{type: event_count, group-by: [fd.cip], timespan: 1m, condition: {{gte: 3}}}}
- macro: all_kinds
  correlation: {{type: value_count, rules: [Download, Accepts, Run], {BY_HOST}, condition: {{field: rule, gte: 3}}}}
- macro: matches
  correlation: {{type: event_count, rules: [Accepts, Run], {BY_HOST}, condition: {{gte: 4}}}}
- macro: both
  correlation: {{type: temporal, rules: [Accepts, Run], {BY_HOST}}}
- macro: above
  correlation: {{type: event_count, rules: [Matches, Download], timespan: 1m, condition: {{gte: 2}}}}
""",
    rule("above", "o", name="Above"),
    rule("all_kinds", "%correlation.values on %correlation.group", name="All kinds"),
    rule("matches", "%correlation.count by %proc.name", name="Matches"),
    rule("both", "%correlation.leg[Accepts].fd.cip", name="Both"),
    PARTS,
)
CLIENTS = ("10.0.0.1", "10.0.0.2")
KINDS = (*CLIENTS, "Download", "Run")
"""What hosts do: they accept connections from two clients, download and run."""


def act(host: Host, kind: str, seconds: float, weight: int = 1) -> EventBatch:
    """Return the event of a host, which may stand for several."""
    if kind in CLIENTS:
        bits = int(EventBit.HAS_RES | EventBit.HAS_ROLE | EventBit.IS_SERVER)
        accepted = {"type": "accept4", "remote_ip": kind, "local_ip": "10.0.0.9", "remote_port": 4, "local_port": 22}
        return host.event(seconds, **accepted, fd_type="ipv4", bits=bits, repeats=weight - 1)
    columns = {"type": "openat", "process": "curl"} if kind == "Download" else {"type": "execve", "process": "evil"}
    return host.event(seconds, **columns, repeats=weight - 1)
