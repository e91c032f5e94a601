"""What stateful rules report, event by event."""

import pytest

from processor.correlation.correlator import Correlator
from schemas.alert import Alert
from schemas.batch import EventBatch
from tests.unit.processor.correlation.rules import (
    MINUTE,
    SECOND,
    SSH,
    START,
    STEPS,
    Host,
    evaluator_of,
    pre_matches,
    restarted,
    rule,
    ruleset_of,
)


def replay(text: list[str], *batches: EventBatch) -> list[Alert]:
    """Evaluate batches in order, up to their end."""
    evaluator = evaluator_of(*text)
    return [alert for batch in batches for alert in evaluator.replay(batch)] + evaluator.correlator.finish()


def seconds(alerts: list[Alert]) -> list[float]:
    """Return the times of alerts, summaries left out, in seconds from the start."""
    return [(alert.time - START) / SECOND for alert in alerts if alert.repeats is None]


MANY = [SSH, rule("many_ssh_connections and not trusted_client", "%fd.cip %correlation.count %correlation.group")]


def test_the_event_that_meets_the_threshold_fires() -> None:
    """The third connection within a minute makes the one alert, and knows of the first."""
    host = Host()

    [alert] = replay(MANY, host.accept(0), host.accept(20), host.accept(60))

    assert seconds([alert]) == [60]
    assert alert.output == "10.0.0.1 3 10.0.0.1"
    assert alert.window is not None
    assert (alert.window.count, alert.window.first, alert.window.last) == (3, START, START + MINUTE)
    assert alert.window.group == {"fd.cip": "10.0.0.1"}
    assert alert.event["proc.name"] == "sshd"


def test_an_alert_of_a_stateful_rule_has_the_texts_of_its_rule() -> None:
    """So has the summary of its repeats."""
    host = Host()
    text = [SSH, rule("many_ssh_connections", "%fd.cip", "response: Block the address.")]

    alerts = replay(text, *(host.accept(at) for at in (0, 20, 40, 50)))

    assert [(each.description, each.response) for each in alerts] == [("d", "Block the address.")] * 2
    assert alerts[1].repeats is not None


def test_a_window_reaches_back_its_timespan_and_no_further() -> None:
    """A nanosecond more than a minute is too long."""
    host = Host()

    assert replay(MANY, host.accept(0), host.accept(20), host.accept(60.000000001)) == []


def test_groups_do_not_count_each_others_events() -> None:
    """Three connections from three clients are no flood."""
    host = Host()

    assert replay(MANY, *(host.accept(number, f"10.0.0.{number}") for number in range(3))) == []


def test_without_the_hostname_a_window_is_fleet_wide() -> None:
    """Three hosts together meet what none of them meets alone."""
    hosts = [Host(f"web-{number}") for number in range(3)]

    assert seconds(replay(MANY, *(host.accept(step) for step, host in enumerate(hosts)))) == [2]


def test_the_rest_of_the_condition_is_the_events_own() -> None:
    """A trusted client's connections count but make no alert."""
    host = Host()

    assert replay(MANY, *(host.accept(number, "10.0.0.9") for number in range(5))) == []


def test_an_event_without_its_group_is_not_counted_and_that_is_counted() -> None:
    """A connection from nobody knows whom belongs to no window."""
    host, evaluator = Host(), evaluator_of(*MANY)

    for number in range(5):
        assert evaluator.replay(host.accept(number, None)) == []
    assert evaluator.rules.pre_matcher.counts == {"group_missing": 5}
    assert len(evaluator.correlator.store) == 0


def test_a_late_event_is_counted_as_late_and_not_evaluated() -> None:
    """What is older than the timespan and a minute comes too late; what is less so is applied."""
    host, other, evaluator = Host(), Host("web-2"), evaluator_of(*MANY)

    for batch in (host.accept(200), host.accept(201), other.accept(80.9), other.accept(81)):
        assert evaluator.process(batch) == []
    assert evaluator.correlator.counts == {"late": 1}


def test_an_event_from_a_host_that_lags_fires_itself() -> None:
    """The connection that completes the window need not be the newest; the alert is its own."""
    host, other = Host(), Host("web-2")

    [alert] = replay(MANY, host.accept(10), host.accept(20), other.accept(5))

    assert (alert.hostname, seconds([alert])) == ("web-2", [5])


def test_an_event_delivered_again_changes_nothing() -> None:
    """Neither the count nor the repeats know it twice."""
    host, evaluator = Host(), evaluator_of(*MANY)
    batches = [host.accept(number) for number in range(5)]

    first = [alert for batch in batches for alert in evaluator.process(batch)]
    repeated = [alert for batch in batches for alert in evaluator.process(batch)]

    assert (len(first), repeated) == (1, [])
    [summary] = evaluator.correlator.finish()
    assert summary.repeats is not None
    assert summary.repeats.count == 2


def test_distinct_values_are_counted() -> None:
    """One client on three hosts; many connections to the same one add nothing."""
    hosts = [Host(f"web-{number}") for number in range(3)]
    text = [SSH, rule("on_many_hosts", "%correlation.values")]

    [alert] = replay(
        text, hosts[0].accept(0), hosts[0].accept(1), hosts[0].accept(2), hosts[1].accept(3), hosts[2].accept(4)
    )

    assert alert.output == "web-0, web-1, web-2"
    assert alert.window is not None
    assert (alert.window.count, alert.window.values) == (3, ("web-0", "web-1", "web-2"))


def test_a_sequence_is_reported_with_its_steps() -> None:
    """The execution fires, and reports what was downloaded."""
    host = Host()
    text = [STEPS, rule("download_then_run", "%proc.name was %correlation.leg[downloaded_file].fd.name")]

    [alert] = replay(text, host.download(0, "/tmp/x"), host.run(100))

    assert alert.output == "evil was /tmp/x"
    assert alert.window is not None
    assert alert.window.legs["downloaded_file"] == {"evt.time": START, "evt.hostname": "web-1", "fd.name": "/tmp/x"}


@pytest.mark.parametrize(("macro", "fires"), [("download_and_run", [1]), ("download_then_run", [])])
def test_only_an_ordered_macro_requires_the_order(macro: str, fires: list[float]) -> None:
    """To run something and then to download is no sequence."""
    host = Host()

    assert seconds(replay([STEPS, rule(macro)], host.run(0), host.download(1))) == fires


@pytest.mark.parametrize(("gap", "fires"), [(300, [300]), (300.1, [])])
@pytest.mark.parametrize("macro", ["download_and_run", "download_then_run"])
def test_all_legs_lie_within_the_timespan(macro: str, gap: float, fires: list[float]) -> None:
    """Five minutes are enough, more is not."""
    host = Host()

    assert seconds(replay([STEPS, rule(macro)], host.download(0), host.run(gap))) == fires


def test_a_rule_fires_once_and_reports_its_repeats() -> None:
    """Ten connections: one alert at the third, and one summary of the seven others a minute after it."""
    host = Host()

    alert, summary = replay(MANY, *(host.accept(number) for number in range(10)))

    assert seconds([alert]) == [2]
    assert summary.output == "REPEATED 7 more times in 1m: 10.0.0.1 3 10.0.0.1"
    assert summary.time == alert.time + MINUTE
    assert summary.repeats is not None
    assert (summary.repeats.first_id, summary.repeats.count) == (alert.id, 7)
    assert (summary.repeats.first, summary.repeats.last) == (alert.time, START + 9 * SECOND)
    assert summary.id not in ("", alert.id)


def test_a_rule_defines_what_its_repeats_have_in_common() -> None:
    """Without a stateful macro too: each path has an alert of its own, and its repeats are counted apart."""
    host = Host()
    text = [rule("evt.type = openat", "%fd.name", "suppress: {by: [fd.name], for: 10m}")]

    alerts = replay(text, *(host.download(number, path) for number, path in enumerate(["/a", "/b", "/a", "/a", "/b"])))

    assert [alert.output for alert in alerts] == [
        "/a",
        "/b",
        "REPEATED 2 more times in 10m: /a",
        "REPEATED 1 more time in 10m: /b",
    ]


def test_a_period_ends_with_the_event_after_it() -> None:
    """The next repeat is an alert again, after the summary of those before."""
    host = Host()
    text = [rule("evt.type = openat", "%fd.name", "suppress: {by: [fd.name], for: 10s}")]

    alerts = replay(text, host.download(0), host.download(10), host.download(11), host.download(12))

    assert [(alert.time - START) // SECOND for alert in alerts] == [0, 10, 11, 21]
    assert [alert.repeats and alert.repeats.count for alert in alerts] == [None, 1, None, 1]


def test_a_tick_ends_a_period_once_its_last_events_had_time_to_arrive() -> None:
    """Live, silence ends a period; ten seconds and five more."""
    host = Host()
    evaluator = evaluator_of(rule("evt.type = openat", "%fd.name", "suppress: {by: [fd.name], for: 10s}"))
    correlator = evaluator.correlator
    correlator.tick(START)
    evaluator.process(host.download(0))
    evaluator.process(host.download(1))

    assert correlator.tick(START + 14 * SECOND) == []
    [summary] = correlator.tick(START + 15 * SECOND)
    assert summary.repeats is not None
    assert summary.repeats.count == 1
    assert correlator.tick(START + 60 * SECOND) == []


def test_one_summary_comes_whoever_owns_the_group() -> None:
    """The owner dies after it sent the summary and before it wrote its state: the next one sends the same id."""
    host = Host()
    ruleset = ruleset_of(rule("evt.type = openat", "%fd.name", "suppress: {by: [fd.name], for: 10s}"))
    first = Correlator(ruleset.plan)
    first.process(pre_matches(ruleset, host.download(0), host.download(1), host.download(2)))
    second = restarted(first, ruleset)

    [reported] = first.tick(START + MINUTE)
    [repeated] = second.tick(START + 2 * MINUTE)

    assert reported.id == repeated.id
    assert reported.repeats == repeated.repeats


def test_a_repeat_delivered_again_after_its_summary_makes_no_alert() -> None:
    """What is reported stays known for a while."""
    host = Host()
    evaluator = evaluator_of(rule("evt.type = openat", "%fd.name", "suppress: {by: [fd.name], for: 10s}"))
    batches = [host.download(0), host.download(1)]
    for batch in batches:
        evaluator.process(batch)
    assert len(evaluator.correlator.tick(START + MINUTE)) == 1

    assert [evaluator.process(batch) for batch in batches] == [[], []]
    assert evaluator.correlator.counts == {"duplicate": 2}


def test_a_macro_that_is_not_true_can_be_requested_too() -> None:
    """The first two connections match, the third does not."""
    host = Host()
    text = [SSH, rule("ssh_connection and not many_ssh_connections", "%fd.cip", "suppress: {by: [fd.cip], for: 1s}")]

    assert seconds(replay(text, host.accept(0), host.accept(10), host.accept(20), host.accept(200))) == [0, 10, 200]


def test_an_event_that_is_delivered_again_is_not_evaluated_by_a_negation_either() -> None:
    """The third connection made the macro true; delivered again it does not make it untrue."""
    host = Host()
    evaluator = evaluator_of(
        SSH, rule("ssh_connection and not many_ssh_connections", "x", "suppress: {by: [fd.cip], for: 1s}")
    )
    batches = [host.accept(0), host.accept(10), host.accept(20)]

    assert [len(evaluator.process(batch)) for batch in batches] == [1, 1, 0]
    assert [evaluator.process(batch) for batch in batches] == [[], [], []]


def test_macros_join_in_any_structure() -> None:
    """Either of two windows is enough, and each event has one alert."""
    hosts = [Host(f"web-{number}") for number in range(3)]
    text = [SSH, rule("(many_ssh_connections or on_many_hosts) and not trusted_client")]

    assert seconds(replay(text, *(host.accept(step) for step, host in enumerate(hosts)))) == [2]
    assert seconds(replay(text, *(hosts[0].accept(step) for step in range(3)))) == [2]


FLOOD_THEN_TELNET = """
- macro: telnet
  condition: evt.type = accept4 and proc.name = sh
- macro: flood_then_telnet
  correlation:
    type: temporal_ordered
    macros: [many_ssh_connections, telnet]
    group-by: [fd.cip]
    timespan: 5m
"""


def test_a_leg_can_have_a_window_of_its_own() -> None:
    """A flood, then a connection of another kind from the same client."""
    host = Host()
    text = [
        SSH,
        FLOOD_THEN_TELNET,
        rule("flood_then_telnet", "%correlation.leg[many_ssh_connections].evt.type %proc.name"),
    ]
    flood = [host.accept(number) for number in range(3)]
    telnet = host.event(10, type="accept4", process="sh", remote_ip="10.0.0.1", bits=0b100000001100000)

    [alert] = replay(text, *flood, telnet)

    assert alert.output == "accept4 sh"
    assert replay(text, *flood[:2], telnet) == []


THERE_AND_BACK = """
- macro: connects_back
  condition: evt.type = connect
- macro: there_and_back
  correlation:
    type: temporal_ordered
    macros: [ssh_connection, connects_back]
    group-by: [peer]
    aliases: {peer: {ssh_connection: fd.cip, connects_back: fd.sip}}
    timespan: 5m
"""


def test_legs_may_have_the_group_in_different_fields() -> None:
    """A client of one connection is the server of another."""
    host = Host()
    text = [SSH, THERE_AND_BACK, rule("there_and_back", "%correlation.group")]
    out = {"type": "connect", "process": "sh", "local_ip": "10.0.0.2", "bits": 0b100000000100000}

    [alert] = replay(
        text, host.accept(0), host.event(1, remote_ip="10.0.0.7", **out), host.event(2, remote_ip="10.0.0.1", **out)
    )

    assert (alert.output, seconds([alert])) == ("10.0.0.1", [2])
    assert alert.window is not None
    assert alert.window.group == {"peer": "10.0.0.1"}
