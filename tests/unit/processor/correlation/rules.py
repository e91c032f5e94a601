"""Stateful rules and events for them, for tests: a fleet that accepts connections, downloads and executes."""

from typing import Any

from processor.correlation.correlator import Correlator
from processor.correlation.state import seen_records
from processor.detection.stage import CompiledRuleset, compile_ruleset
from processor.detection.view import BatchView
from processor.evaluator import Evaluator
from processor.loading import RuleFile, load_rules
from processor.matching.pre_match import PreMatch
from processor.rule import RulesetOptions
from schemas.batch import Container, EventBatch, EventBit, Process
from tests.unit.processor.batches import INIT, batch_of

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
START = 1_795_530_000 * SECOND

PROCESSES = {"sshd": 1, "curl": 2, "sh": 3, "evil": 4, "apt": 5}
WEB = Container("3d09256ebd53", "3d09256ebd53" * 5, "docker", name="web", image_repository="nginx")

SSH = """
- macro: ssh_connection
  condition: evt.type in (accept, accept4) and evt.rawres >= 0 and proc.name = sshd
- macro: many_ssh_connections
  condition: ssh_connection
  correlation:
    type: event_count
    group-by: [fd.cip]
    timespan: 1m
    condition: {gte: 3}
- macro: on_many_hosts
  condition: ssh_connection
  correlation:
    type: value_count
    group-by: [fd.cip]
    timespan: 1m
    condition: {field: evt.hostname, gte: 3}
- macro: trusted_client
  condition: fd.cip = "10.0.0.9"
"""

STEPS = """
- macro: downloaded_file
  condition: evt.type = openat and proc.name = curl and evt.is_open_write = true
- macro: executed_new_file
  condition: evt.type = execve and proc.name = evil
- macro: download_and_run
  correlation:
    type: temporal
    macros: [downloaded_file, executed_new_file]
    group-by: [container.id]
    timespan: 5m
- macro: download_then_run
  correlation:
    type: temporal_ordered
    macros: [downloaded_file, executed_new_file]
    group-by: [container.id]
    timespan: 5m
"""

NEW_PROGRAM = """
- macro: new_program
  condition: evt.type = execve
  correlation:
    type: first_seen
    group-by: [container.id]
    field: [proc.name, proc.exepath]
    lookback: 7d
    learning: 1h
"""


def rule(condition: str, output: str = "found", *more: str, name: str = "Found") -> str:
    """Write a rule."""
    lines = [f"- rule: {name}", "  desc: d", f"  condition: {condition}", f'  output: "{output}"', "  priority: NOTICE"]
    return "\n".join([*lines, *(f"  {line}" for line in more)]) + "\n"


def ruleset_of(*texts: str) -> CompiledRuleset:
    """Load and compile rules that have to be right."""
    result = load_rules([RuleFile("rules.yaml", "".join(texts))])
    assert [problem.message for problem in result.errors] == []
    return compile_ruleset(result.rules, result.macros, RulesetOptions(append_container=False))


def evaluator_of(*texts: str) -> Evaluator:
    """Return both stages for rules, which have to be valid."""
    return Evaluator(ruleset_of(*texts))


class Host:
    """A host whose batches hold one event each."""

    def __init__(self, name: str = "web-1") -> None:
        self.name = name
        self.sequence = 0

    def event(self, seconds: float, **columns: Any) -> EventBatch:
        """Make a batch of one event, so many seconds after the start."""
        self.sequence += 1
        process_index = PROCESSES[columns.pop("process", "sshd")]
        processes = [INIT] + [
            Process(pid=10 + row, ppid=1, name=name, exepath=f"/tmp/{name}", parent=0, container=0)
            for name, row in PROCESSES.items()
        ]
        time = START + round(seconds * SECOND)
        return batch_of(
            {"time": time, "process": process_index, **columns},
            processes=processes,
            containers=[WEB],
            host_id=self.name,
            hostname=self.name,
            boot_id=f"boot of {self.name}",
            sequence=self.sequence,
        )

    def accept(self, seconds: float, client: str | None = "10.0.0.1") -> EventBatch:
        """Accept a connection; None: it isn't known from whom."""
        bits = int(EventBit.HAS_RES | EventBit.HAS_ROLE | EventBit.IS_SERVER)
        return self.event(
            seconds,
            type="accept4",
            remote_ip=client,
            local_ip="10.0.0.2",
            remote_port=4000,
            local_port=22,
            fd_type="ipv4",
            bits=bits,
        )

    def download(self, seconds: float, path: str = "/tmp/evil") -> EventBatch:
        """Return the batch in which curl opens a file for writing."""
        return self.write(seconds, path, process="curl")

    def write(self, seconds: float, path: str, process: str = "sh") -> EventBatch:
        """Open a file for writing."""
        bits = int(EventBit.HAS_RES | EventBit.OPEN_WRITE)
        return self.event(seconds, type="openat", process=process, fd_name=path, fd_type="file", bits=bits)

    def read(self, seconds: float, path: str, process: str = "sh") -> EventBatch:
        """Open a file for reading."""
        bits = int(EventBit.HAS_RES | EventBit.OPEN_READ)
        return self.event(seconds, type="openat", process=process, fd_name=path, fd_type="file", bits=bits)

    def run(self, seconds: float, process: str = "evil") -> EventBatch:
        """Execute a program; by default what was downloaded."""
        return self.event(seconds, type="execve", process=process)


def pre_matches(ruleset: CompiledRuleset, *batches: EventBatch) -> list[PreMatch]:
    """Return what detection sends to correlation."""
    return [found for batch in batches for found in ruleset.pre_matcher.process(BatchView(batch))]


def restarted(correlator: Correlator, ruleset: CompiledRuleset) -> Correlator:
    """Return a correlator of another process that restored this one's window state."""
    new = Correlator(ruleset.plan)
    for blob in seen_records(correlator.state, changed=False):
        new.state.load(blob)
    new.restore(correlator.snapshot())
    return new


ALL_KINDS = ruleset_of(
    SSH,
    STEPS,
    NEW_PROGRAM.replace("learning: 1h", "learning: 9s"),
    rule("many_ssh_connections", "%correlation.count", name="Many"),
    rule("on_many_hosts", "%correlation.values", "suppress: {by: [fd.cip], for: 30s}", name="Hosts"),
    rule("download_and_run", "d", "suppress: {by: [container.id, evt.hostname], for: 30s}", name="Both"),
    rule("download_then_run", "%correlation.leg[downloaded_file].fd.name", name="Then"),
    rule("new_program", "%correlation.values", name="New"),
    rule(
        "evt.type = execve and not new_program", "k", "suppress: {by: [container.id, proc.name], for: 9s}", name="Known"
    ),
    rule("ssh_connection and not on_many_hosts", "n", "suppress: {by: [fd.cip], for: 20s}", name="Few"),
)
"""Rules with every kind of window, joined and negated, with and without `suppress`."""
