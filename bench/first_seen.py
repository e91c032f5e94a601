"""Measure first_seen: the cost of an event in both stages, and of a million known values.

    python -m bench.first_seen

Processor time of one core, the lowest of several rounds; memory is the resident set.
"""

import gc
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from processor.correlation.correlator import Correlator
from processor.correlation.first_seen import MAX_VALUES
from processor.correlation.stage import CorrelateStage
from processor.correlation.state import everything, take_changes
from processor.detection.stage import CompiledRuleset, compile_ruleset
from processor.detection.view import BatchView
from processor.loading import RuleFile, load_rules
from processor.matching.pre_match import PreMatch
from processor.matching.wire import message_of
from processor.rule import RulesetOptions
from schemas.batch import EventBatch, Process
from tests.unit.processor.batches import INIT, batch_of

ROUNDS = 5
EVENTS = 500
VALUES = MAX_VALUES * 99 // 100
_GROUPS = 100
_START = 1_795_530_000_000_000_000
_DAY = 86_400 * 10**9
_RULES = """
- macro: new_program
  condition: evt.type = execve
  correlation: {type: first_seen, group-by: [evt.hostname], field: proc.exepath, lookback: 7d, learning: 1d}
- rule: New
  desc: d
  condition: new_program
  output: "%correlation.values"
  priority: NOTICE
"""


def main() -> None:
    """Print a line for each part."""
    loaded = load_rules([RuleFile("rules.yaml", _RULES)])
    rules = compile_ruleset(loaded.rules, loaded.macros, RulesetOptions(max_group_values=VALUES))
    _detection(rules)
    correlator = Correlator(rules.plan)
    _correlation(rules, correlator)
    _takeover(rules, correlator)


def _detection(rules: CompiledRuleset) -> None:
    batches = [batch(0, range(EVENTS), appended=_START + minute * 60 * 10**9) for minute in range(ROUNDS)]

    def send(each: EventBatch) -> object:
        return list(map(message_of, rules.pre_matcher.process(BatchView(each))))

    first = min(_per_event(send, batches))
    again = min(_per_event(send, batches[-1:] * 5))
    print(f"detection, a value that is sent: {first:.1f} us; one that was sent in this minute: {again:.2f} us")


def _correlation(rules: CompiledRuleset, correlator: Correlator) -> None:
    before, begun = resident(), time.thread_time()
    per_group = VALUES // _GROUPS
    template = next(iter(rules.pre_matcher.process(BatchView(batch(0, range(1), appended=_START)))))
    size = 0
    for number in range(VALUES):
        correlator.apply(_seen(template, number, per_group, _START), [])
        if number % EVENTS == 0:
            size += sum(
                len(change.record) + len(change.blob or b"")
                for change in take_changes(correlator.state, correlator.macros)
            )
    taken = time.thread_time() - begun
    gc.collect()
    cost, memory = 1e6 * taken / VALUES, (resident() - before) / VALUES
    print(f"correlation, learning {VALUES:,} values: {cost:.1f} us each with its record of {size / VALUES:.0f} bytes")
    print(f"  memory: {memory:.0f} bytes each")
    known = [_seen(template, number, per_group, _START + 60 * 10**9) for number in range(0, VALUES, 100)]
    spent = []
    for _ in range(ROUNDS):
        begun = time.thread_time()
        for each in known:
            correlator.apply(each, [])
        spent.append(1e6 * (time.thread_time() - begun) / len(known))
    written = len(take_changes(correlator.state, correlator.macros))
    print(f"  a known value: {min(spent):.1f} us; records written: {written}")
    spent = []
    for second in range(VALUES // 50_000 + 1):
        begun = time.thread_time()
        correlator.tick(_START + _DAY + second * 10**9)
        spent.append(1e3 * (time.thread_time() - begun))
    print(f"  looking for old values, 64 times per lookback: {sum(spent):.0f} ms, at most {max(spent):.0f} at once")


def _takeover(rules: CompiledRuleset, correlator: Correlator) -> None:
    begun = time.thread_time()
    table = everything(correlator.state)
    encoded = time.thread_time() - begun
    begun = time.thread_time()
    CorrelateStage(rules.plan).begin(0, table.values(), 0)
    loaded = time.thread_time() - begun
    print(f"writing all again: {encoded:.1f} s; loading at a takeover: {loaded:.1f} s")


def _seen(template: PreMatch, number: int, per_group: int, appended: int) -> PreMatch:
    feed = template.feeds[0]
    value = f"/usr/lib/x86_64-linux-gnu/program-{number:07}"
    return PreMatch(
        template.origin,
        appended,
        template.hostname,
        (f"web-{number // per_group}",),
        (type(feed)(feed.term, value),),
        appended=appended,
    )


def batch(sequence: int, programs: Sequence[int], appended: int) -> EventBatch:
    """Return a batch in which one process starts each of some programs."""
    processes = [INIT] + [
        Process(pid=10 + number, ppid=1, name="x", exepath=f"/usr/bin/program-{number}", parent=0)
        for number in programs
    ]
    rows = [{"type": "execve", "process": index, "time": _START + index} for index, _ in enumerate(programs, start=1)]
    batch = batch_of(*rows, processes=processes, host_id="h", hostname="web-1", sequence=sequence)
    batch.appended = appended
    return batch


def _per_event(work: Callable[[EventBatch], object], batches: Sequence[EventBatch]) -> list[float]:
    found = []
    for batch in batches:
        begun = time.thread_time()
        work(batch)
        found.append(1e6 * (time.thread_time() - begun) / batch.count)
    return found


def resident() -> int:
    """Return the resident memory of this process, in bytes."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
