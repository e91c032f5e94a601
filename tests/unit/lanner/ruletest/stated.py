"""Events as tests state them, and the fields derived from them."""

from typing import Any

from lanner.ruletest.reading import read_events
from lanner.ruletest.world import make_batch
from processor.fields.extract import extract


def fields_of(text: str, *names: str, event: int = 0) -> list[Any]:
    """Make a batch from the events in a text, and return fields of one of them."""
    events, problems = read_events("events.yaml", text)
    assert problems == ()
    batch = make_batch(events)
    return [extract(batch, event, name) for name in names]


def problem_of(text: str) -> tuple[int, int, str, str]:
    """Return location, message and hint of the only problem."""
    _, [problem] = read_events("events.yaml", text)
    return problem.line, problem.column, problem.message, problem.hint
