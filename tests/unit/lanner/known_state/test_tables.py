from lanner.known_state.tables import empty_state, macro_states
from processor.matching.pre_match import SeenGroup
from tests.unit.processor.correlation.rules import MINUTE, NEW_PROGRAM, SECOND, START, rule, ruleset_of

DAY = 24 * 60 * MINUTE


def test_groups_that_learn_or_are_full_are_counted() -> None:
    """A group is full for a lookback after the first value of somebody for which it had no room."""
    plan = ruleset_of(NEW_PROGRAM, rule("new_program")).plan
    state = empty_state()
    now = START + 30 * DAY
    groups = {
        "learns": SeenGroup(now - MINUTE),
        "knows": SeenGroup(START),
        "is full": SeenGroup(START, ((7, (now - DAY) // SECOND), (8, START // SECOND))),
        "was full": SeenGroup(START, ((7, (now - 20 * DAY) // SECOND),)),
    }
    for name, record in groups.items():
        state.sightings.load(plan.macros[0].fingerprint, (name,), "h", record)

    (found,) = macro_states(state, plan, now)

    assert (found.groups, found.learning, found.full) == (4, 1, 1)
