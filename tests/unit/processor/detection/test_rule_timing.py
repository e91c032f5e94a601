from bench.rules import ordinary_batch
from processor.detection.detector import Detector
from processor.detection.rule_timing import RuleTiming
from processor.loading import RuleFile, load_rules

TEXT = """
- rule: Of opens
  desc: d
  condition: evt.type = openat and fd.name startswith /nowhere
  output: o
  priority: NOTICE
- rule: Of execs
  desc: d
  condition: evt.type = execve and proc.name = nobody
  output: o
  priority: NOTICE
"""


def detector() -> Detector:
    """Compile the two rules."""
    return Detector(load_rules([RuleFile("rules", TEXT)]).rules)


def test_rules_take_turns_and_samples_stand_for_what_came_between() -> None:
    """With a clock that goes on by a hundredth a look, each sample takes that long; 500 events a batch."""
    now = [0.0]

    def clock() -> float:
        now[0] += 0.01
        return now[0]

    made = detector()
    timing = RuleTiming(lambda: made, clock=clock, interval=0)
    batch = ordinary_batch(1)
    timing.see(batch)
    assert {name: round(seconds, 6) for name, seconds in timing.seconds.items()} == {"Of opens": 0.01}
    timing.see(batch)
    assert round(timing.seconds["Of execs"], 6) == 0.01
    timing.see(batch)
    # Its own batch, and the one before, which the other rule's turn was.
    assert round(timing.seconds["Of opens"], 6) == 0.03


def test_between_samples_nothing_is_measured() -> None:
    """A sample costs as much as an evaluation, so it is seldom."""
    now = [100.0]
    made = detector()
    timing = RuleTiming(lambda: made, clock=lambda: now[0], interval=0.5)
    batch = ordinary_batch(1)
    timing.see(batch)
    timing.see(batch)
    assert set(timing.seconds) == {"Of opens"}
    now[0] += 0.5
    timing.see(batch)
    assert set(timing.seconds) == {"Of opens", "Of execs"}


def test_other_rules_are_measured_once_they_are_active() -> None:
    """The current detector is looked up at each sample."""
    current = [Detector([]), detector()]
    timing = RuleTiming(lambda: current[0], interval=0)
    timing.see(ordinary_batch(1))
    assert not timing.seconds
    current.pop(0)
    timing.see(ordinary_batch(1))
    assert set(timing.seconds) == {"Of opens"}
