from typing import Any

import pytest

from lanner.sigma.cases import sequences
from processor.loading import RuleFile, load_rules

RULES = """
- macro: leg
  condition: evt.type = execve and proc.name = a
- macro: counted
  condition: leg
  correlation: {{type: value_count, group-by: [container.id], timespan: 1m, condition: {{field: {field}, gte: 2}}}}
- rule: r
  desc: d
  condition: counted
  output: o
  priority: NOTICE
"""


@pytest.mark.parametrize(
    ("field", "second"),
    [
        ("proc.exeline", {"name": "a", "args": ["1"]}),
        ("user.name", {"name": "a", "user": "user1", "uid": 1001}),
        ("proc.tty", {"name": "a"}),
    ],
)
def test_events_differ_in_the_counted_field(field: str, second: dict[str, Any]) -> None:
    """If it is known how; whether they are enough is for the evaluation to decide."""
    loaded = load_rules([RuleFile("r.yaml", RULES.format(field=field))])
    made = next(sequences(loaded.rules[0], loaded))
    assert [event.get("at") for event in made.given] == [None, "10ms"]
    assert made.given[1]["proc"] == second
