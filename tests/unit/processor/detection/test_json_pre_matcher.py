"""Windows that take audit events, alone and together with system calls."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.correlation.windows import ALLOWED_LATENESS
from processor.detection.view import view_of
from processor.evaluator import Evaluator
from processor.fields.json.documents import Document
from schemas.alert import Alert
from schemas.batch import EventBatch
from tests.unit.processor.correlation import oracles
from tests.unit.processor.correlation.rules import MINUTE, SECOND, START, Host, evaluator_of, rule
from tests.unit.processor.matching.mixed import BOTH, LEGS, asked, on_audit

COUNTED = """
- macro: many_secrets
  condition: ka.target.resource = secrets
  correlation: {type: event_count, group-by: [ka.user.name], timespan: 1m, condition: {gte: 3}}
- macro: different_secrets
  condition: ka.target.resource = secrets
  correlation: {type: value_count, group-by: [json.user], timespan: 1m, condition: {field: ka.target.name, gte: 2}}
- macro: new_secret
  condition: ka.target.resource = secrets
  correlation: {type: first_seen, group-by: [ka.user.name], field: ka.target.name, lookback: 7d, learning: 10s}
"""


def replay(evaluator: Evaluator, *events: EventBatch | Document) -> list[Alert]:
    """Evaluate events in this order."""
    found = []
    for event in events:
        found += evaluator.replay(event)
    return found


def test_audit_events_are_counted_by_their_fields() -> None:
    """Each kind of window takes them; another user is another group."""
    evaluator = evaluator_of(
        COUNTED,
        on_audit("many_secrets", "%ka.user.name %correlation.count", name="Many"),
        on_audit("different_secrets", "%correlation.group: %correlation.values", name="Different"),
        on_audit("new_secret", "%correlation.values", name="New"),
    )

    events = [asked(0), asked(10, user="bob"), asked(20), asked(25, "key"), asked(26, "key")]
    alerts = replay(evaluator, *events)

    assert [(alert.rule, alert.output) for alert in alerts] == [
        ("Many", "alice 3"),
        ("Different", "alice: db, key"),
        ("New", "key"),
    ]
    (alert, *_) = alerts
    assert (alert.source, alert.hostname, alert.host_id, alert.event["ka.user.name"]) == ("k8s_audit", "", "", "alice")


def test_a_rule_by_user_is_a_leg_of_a_macro_by_secret() -> None:
    """The user's requests for any secret count, and the one that completes them for its own secret."""
    evaluator = evaluator_of(
        COUNTED,
        """
- macro: requested
  condition: ka.target.resource = secrets and ka.user.name = bob
- macro: by_secret
  correlation:
    type: temporal
    rules: [Many, Bob]
    group-by: [ka.target.name]
    timespan: 1m
""",
        on_audit("many_secrets", "o", name="Many"),
        on_audit("requested", "o", name="Bob"),
        on_audit("by_secret", "%correlation.group of %ka.user.name", name="Both"),
    )

    events = [asked(0, "key", user="bob"), asked(1), asked(2), asked(3, "key"), asked(4)]
    alerts = replay(evaluator, *events)

    assert [(alert.rule, alert.output) for alert in alerts if alert.rule != "Bob"] == [
        ("Many", "o"),
        ("Both", "key of alice"),
    ]


def test_an_audit_event_that_comes_again_counts_once() -> None:
    """The API server repeats what it got no answer for."""
    evaluator = evaluator_of(COUNTED, on_audit("many_secrets"))

    assert replay(evaluator, asked(0), asked(1), asked(0), asked(1), asked(1)) == []
    assert len(replay(evaluator, asked(2))) == 1
    assert evaluator.correlator.counts["stale"] == 3


def test_repeats_of_alerts_on_audit_events_are_suppressed() -> None:
    """By fields of the source, as for system calls."""
    evaluator = evaluator_of(on_audit("ka.verb = get", "%ka.user.name", "suppress: {by: [json.user], for: 1m}"))

    alerts = replay(evaluator, *(asked(at, user=user) for at, user in ((0, "a"), (1, "a"), (2, "b"), (3, "a"))))
    summary = evaluator.correlator.finish()

    assert [alert.output for alert in alerts] == ["a", "b"]
    assert [alert.repeats and alert.repeats.count for alert in summary] == [2]


@pytest.mark.parametrize(("first", "source"), [("asked", "syscall"), ("opened", "k8s_audit")])
def test_whichever_source_comes_last_completes_a_temporal_macro(first: str, source: str) -> None:
    """A rule of its source raises the alert, and names what the other source's event had."""
    output = "%correlation.leg[secret_requested].ka.user.name opened %correlation.leg[file_opened].fd.name"
    evaluator = evaluator_of(
        LEGS, BOTH.format(type="temporal"), rule("both", output, name="Call"), on_audit("both", output, name="Audit")
    )
    events = {"asked": asked(5, "/db"), "opened": Host().read(3, "/db")}

    (alert,) = replay(evaluator, events.pop(first), asked(4, "/other"), *events.values())

    assert (alert.source, alert.output) == (source, "alice opened /db")
    assert alert.window is not None
    assert alert.window.legs["secret_requested"]["ka.user.name"] == "alice"


# Two minutes after an event, a replay has dropped its window: the newest event of all groups is the clock.
_actions = st.lists(
    st.tuples(st.booleans(), st.integers(0, 11).map(lambda tens: 10 * tens), st.sampled_from(["/a", "/b"])),
    min_size=1,
    max_size=25,
)


@pytest.mark.parametrize("kind", ["temporal", "temporal_ordered"])
@settings(max_examples=60, deadline=None)
@given(_actions, st.booleans())
def test_mixed_windows_equal_looking_through_everything(
    kind: str, actions: list[tuple[bool, int, str]], again: bool
) -> None:
    """Sources in any order, late and repeated: each group has the matches of the oracle, each at its source."""
    evaluator = evaluator_of(
        LEGS,
        BOTH.format(type=kind),
        rule("both", name="Call"),
        *([on_audit("both", name="Audit")] * (kind == "temporal")),
    )
    host, events, expected = Host(), [], {"Call": 0, "Audit": 0}
    groups: dict[str, list[Any]] = {}
    for number, (is_audit, at, name) in enumerate(actions):
        event = asked(at, name, identity=f"{number}") if is_audit else host.read(at, name)
        events += [event] * (1 + again)
        (found,) = evaluator.rules.pre_matcher.process(view_of(event))
        stamp = found.origin.stamp(found.time)
        groups.setdefault(name, []).extend([(stamp, {0 if is_audit else 1})] * (1 + again))
    look = oracles.temporal if kind == "temporal" else oracles.ordered
    for arrivals in groups.values():
        for (_, legs), answer in zip(arrivals, look(arrivals, 2, MINUTE, ALLOWED_LATENESS), strict=True):
            expected["Audit" if legs == {0} else "Call"] += isinstance(answer, list)

    alerts = replay(evaluator, *events)

    summaries = evaluator.correlator.finish()
    counted = dict.fromkeys(expected, 0)
    for alert in (*alerts, *summaries):
        counted[alert.rule] += 1 if alert.repeats is None else alert.repeats.count
    assert counted == expected
    assert all(START <= alert.time <= START + 120 * SECOND for alert in alerts)
