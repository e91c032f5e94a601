"""Events as tests state them, and the fields that come of them."""

from typing import Any

from lanner.ruletest.reading import read_events
from lanner.ruletest.world import make_batch
from processor.fields.extract import extract


def fields_of(text: str, *names: str, event: int = 0) -> list[Any]:
    """Make a batch of the events of a text and give fields of one of them."""
    events, problems = read_events("events.yaml", text)
    assert problems == ()
    batch = make_batch(events)
    return [extract(batch, event, name) for name in names]


def problem_of(text: str) -> tuple[int, int, str, str]:
    """Give place, message and hint of the only thing that is wrong."""
    _, [problem] = read_events("events.yaml", text)
    return problem.line, problem.column, problem.message, problem.hint
