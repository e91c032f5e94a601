from dataclasses import replace

import pytest

from lanner.console.fleet.rules import PastChange, RuleFilter, RuleRow, changes_of, rule_rows, selected
from lanner.console.store.rows import AllRuleActivity, RuleActivity
from lanner.errors import BadRequest
from tests.unit.lanner.console.alerts import NOW
from tests.unit.lanner.console.fleet.rules import OFF, QUIET, RULE, known_rules

DAY = 86_400_000_000
ACTIVITY = AllRuleActivity(
    0,
    4 * DAY,
    {
        RULE: RuleActivity(RULE, "Warning", 6, 3 * DAY, (1, 5)),
        OFF: RuleActivity(OFF, "Notice", 0, DAY),
        "Lanner internal: events lost": RuleActivity("Lanner internal: events lost", "Error", 2, 4 * DAY),
    },
    0,
)


def rows() -> list[RuleRow]:
    """Return the rules of the tests with their alerts."""
    known = known_rules()
    return rule_rows(known, ACTIVITY, changes_of(known, ()))


def test_a_rule_has_its_alerts_a_day_and_its_part_of_the_cost() -> None:
    """A rule that is in alerts only is listed too."""
    found = {row.name: row for row in rows()}
    assert (found[RULE].per_day, found[RULE].share, found[RULE].never) == (1.5, 0.75, False)
    assert (found[QUIET].per_day, found[QUIET].share, found[QUIET].never) == (0.0, 0.25, True)
    assert (found[OFF].seconds, found[OFF].is_on, found[OFF].never) == (None, False, False)
    internal = found["Lanner internal: events lost"]
    assert (internal.facts, internal.priority, internal.activity.count) == (None, "Error", 2)


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (RuleFilter(), [RULE, "Lanner internal: events lost", QUIET, OFF]),
        (RuleFilter(state="fired"), [RULE, "Lanner internal: events lost"]),
        (RuleFilter(state="quiet"), [QUIET]),
        (RuleFilter(state="never"), [QUIET]),
        (RuleFilter(state="off"), [OFF]),
        (RuleFilter(state="other"), ["Lanner internal: events lost"]),
        (RuleFilter(technique="t1003"), [RULE]),
        (RuleFilter(technique="T1003.008"), [RULE]),
        (RuleFilter(technique="T100"), []),
        (RuleFilter(name="set*"), [OFF]),
        (RuleFilter(sort="cost", state="quiet"), [QUIET]),
        (RuleFilter(sort="last"), ["Lanner internal: events lost", RULE, OFF, QUIET]),
        (RuleFilter(sort="name"), ["Lanner internal: events lost", QUIET, RULE, OFF]),
        (RuleFilter(sort="changed"), [QUIET, OFF, "Lanner internal: events lost", RULE]),
    ],
)
def test_a_filter_selects_and_orders(chosen: RuleFilter, expected: list[str]) -> None:
    """By name, state, technique and several orders."""
    assert [row.name for row in selected(rows(), chosen)] == expected


def test_the_last_change_is_the_newest_that_is_reported() -> None:
    """By the published version or an alert; a name may have a colon in it."""
    earlier = PastChange(NOW // 1000 - 5, "bob", "v1", "")
    later = PastChange(NOW // 1000 + 5, "SIGHUP", "", "")
    found = changes_of(
        known_rules(),
        [(later, [f"~ rule {OFF}: enabled"]), (earlier, [f"~ rule {QUIET}: tags", f"~ rule {RULE}: output"])],
    )
    assert (found[QUIET].by, found[QUIET].how) == ("alice", "condition, output")
    assert found[RULE] == replace(earlier, how="output")
    assert found[OFF] == replace(later, how="enabled")
    assert changes_of(
        known_rules(version=None), [(earlier, ["nonsense", "~ rule", "+ rule  added", "~ macro x: y"])]
    ) == {"": replace(earlier, how="added")}


def test_a_wrong_filter_is_explained() -> None:
    """Each value has a form."""
    assert RuleFilter.read({"since": "1h", "x": "y"}) == RuleFilter(since="1h")
    for query in ({"state": "dead"}, {"sort": "best"}, {"since": "never"}):
        with pytest.raises(BadRequest):
            RuleFilter.read(query)
