"""Measure a million groups of a window: their memory, what one more costs, and how long a takeover takes.

    python -m bench.correlation_groups

Each partition has as many groups as it may have, one event each. Processor time of one thread; memory is the resident
set. The takeover reads the table from a broker on the same machine.
"""

import gc
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from bench.first_seen import batch, resident
from bench.running import running_broker, topics_on
from bus.clients.compacted import applied_header, read_tables
from bus.clients.producers import make_producer, producer_config
from bus.connection import Connection
from bus.topics import CORRELATION_TABLE, changelog
from processor.correlation.correlator import MAX_GROUPS, Correlator
from processor.correlation.stage import CorrelateStage
from processor.correlation.state import everything, take_changes
from processor.detection.stage import CompiledRuleset, compile_ruleset
from processor.detection.view import BatchView
from processor.loading import RuleFile, load_rules
from processor.matching.pre_match import PreMatch

_PARTITIONS = 10
_START = 1_795_530_000_000_000_000
_BATCH = 500
"""The correlate stage writes the changes of so many messages at once."""
_BEYOND = 10_000
_RULES = """
- macro: many_failures
  condition: evt.type = execve
  correlation: {type: event_count, group-by: [proc.exepath], timespan: 1h, condition: {gte: 10}}
- rule: Many failures
  desc: d
  condition: many_failures
  output: "%correlation.count"
  priority: NOTICE
"""


def main() -> None:
    """Print a line for each part."""
    loaded = load_rules([RuleFile("rules.yaml", _RULES)])
    rules = compile_ruleset(loaded.rules, loaded.macros)
    template = next(iter(rules.pre_matcher.process(BatchView(batch(0, range(1), appended=_START)))))
    correlators, tables = _fill(rules, template)
    _evict(correlators[0], template)
    del correlators
    _take_over(rules, tables)


def _fill(rules: CompiledRuleset, template: PreMatch) -> tuple[list[Correlator], dict[int, Mapping[bytes, bytes]]]:
    gc.collect()
    before, begun, size = resident(), time.thread_time(), 0
    correlators = [Correlator(rules.plan) for _ in range(_PARTITIONS)]
    for correlator in correlators:
        for number in range(MAX_GROUPS):
            correlator.apply(_event(template, number), [])
            if number % _BATCH == _BATCH - 1:
                changes = take_changes(correlator.state, correlator.macros)
                size += sum(len(change.record) + len(change.blob or b"") for change in changes)
    spent, groups = time.thread_time() - begun, sum(len(each.store) for each in correlators)
    gc.collect()
    print(f"{groups:,} groups: {1e6 * spent / groups:.1f} us each with its record of {size / groups:.0f} bytes")
    print(f"  memory: {(resident() - before) / groups:,.0f} bytes each")
    return correlators, {number: everything(each.state) for number, each in enumerate(correlators)}


def _evict(correlator: Correlator, template: PreMatch) -> None:
    begun = time.thread_time()
    for number in range(_BEYOND):
        correlator.apply(_event(template, MAX_GROUPS + number), [])
    spent = 1e6 * (time.thread_time() - begun) / _BEYOND
    print(f"{_BEYOND:,} more in a full partition: {spent:.1f} us each, {correlator.state.evicted:,} evicted")


def _take_over(rules: CompiledRuleset, tables: Mapping[int, Mapping[bytes, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as name, running_broker(Path(name)) as broker:
        connection = topics_on(broker, _PARTITIONS)
        topic = connection.topic(changelog(CORRELATION_TABLE))
        _write(connection, topic, tables)
        begun, used = time.monotonic(), time.process_time()
        read = read_tables(connection, topic, tables, lambda: False)
        arrived = time.monotonic()
        stage = CorrelateStage(rules.plan)
        unreadable = sum(stage.begin(each, table.values.values(), table.applied) for each, table in read.items())
        ended, spent = time.monotonic(), time.process_time() - used
    print(
        f"takeover of {stage.groups:,} groups: {ended - begun:.1f} s ({arrived - begun:.1f} reading, "
        f"{ended - arrived:.1f} decoding, {spent:.1f} of processor time), {unreadable} unreadable"
    )


def _write(connection: Connection, topic: str, tables: Mapping[int, Mapping[bytes, bytes]]) -> None:
    producer = make_producer(producer_config(connection, "bench", queue_bytes=1 << 28))
    for partition, table in tables.items():
        for offset, (key, value) in enumerate(table.items()):
            producer.produce(topic, value, key, partition, headers=applied_header(offset))
            if offset % _BATCH == 0:
                producer.poll(0)
        producer.flush()


def _event(template: PreMatch, number: int) -> PreMatch:
    origin = replace(template.origin, sequence=number)
    group = (f"/usr/lib/x86_64-linux-gnu/program-{number:07}",)
    return replace(template, origin=origin, time=_START + number, group=group, appended=_START + number)


if __name__ == "__main__":
    main()
