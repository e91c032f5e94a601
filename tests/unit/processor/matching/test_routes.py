"""What an event gives to which group, and what groups relay."""

from tests.unit.processor.correlation.relayed import CLIENTS, RULESET, act
from tests.unit.processor.correlation.rules import Host, pre_matches, rule, ruleset_of


def test_what_cannot_hold_is_not_sent() -> None:
    """A connection may complete the rule by client; until then, the host's group has nothing to look at."""
    (by_client,) = pre_matches(RULESET, act(Host(), CLIENTS[0], 0))
    download, run = (pre_matches(RULESET, act(Host(), kind, 0)) for kind in ("Download", "Run"))

    assert by_client.group == (CLIENTS[0],)
    assert [relay.group for relay in by_client.relays] == [("web-1",)]
    assert [further.group for relay in by_client.relays for further in relay.relays] == [()]
    assert [each.group for each in download] == [(), ("web-1",)]
    assert [[relay.group for relay in each.relays] for each in run] == [[()]]


def test_groups_with_equal_values_do_not_relay_in_circles() -> None:
    """All macros count by a field that is missing from none of their events and has one value."""
    by_name, by_path = "group-by: [proc.name]", "group-by: [fd.name]"
    ruleset = ruleset_of(
        f"""
- macro: first
  condition: evt.type = openat
  correlation: {{type: event_count, {by_name}, timespan: 1m, condition: {{gte: 2}}}}
- macro: second
  correlation: {{type: event_count, rules: [First], {by_path}, timespan: 1m, condition: {{gte: 2}}}}
- macro: third
  correlation: {{type: event_count, rules: [Second], {by_name}, timespan: 1m, condition: {{gte: 2}}}}
""",
        rule("first", name="First"),
        rule("second", name="Second"),
        rule("third", name="Third"),
    )

    (sent,) = pre_matches(ruleset, Host().write(0, "sh"))

    (second,) = sent.relays
    (third,) = second.relays
    assert sent.group == second.group == third.group == ("sh",)
    assert third.relays == ()
    assert [len(each.candidates) for each in (sent, second, third)] == [1, 1, 1]
