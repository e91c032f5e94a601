from lanner.ruletest.reading import read_suite
from lanner.ruletest.running import CaseResult, RuleSet, Runner
from processor.loading import RuleFile, load_rules

RULES = """
- macro: secret_refused
  condition: evt.type = openat and evt.failed = true and fd.name startswith /etc/secret/
- macro: three_secrets_refused
  condition: secret_refused
  correlation: {type: value_count, group-by: [user.name], timespan: 1m, condition: {gte: 3, field: fd.name}}
- macro: refused_on_two_hosts
  condition: secret_refused
  correlation: {type: value_count, group-by: [user.name], timespan: 1m, condition: {gte: 2, field: evt.hostname}}
- rule: Secrets refused on several hosts
  desc: d
  condition: three_secrets_refused and refused_on_two_hosts
  output: >
    %evt.hostname %correlation.count[three_secrets_refused] of %correlation.group on
    %correlation.values[refused_on_two_hosts]
  priority: ERROR
- macro: reads
  condition: evt.type = openat and fd.name = /etc/one
- macro: connects
  condition: evt.type = connect
- macro: read_then_connect
  condition: reads or connects
  correlation: {type: temporal_ordered, group-by: [evt.hostname], timespan: 1m, macros: [reads, connects]}
- rule: Read and connected
  desc: d
  condition: read_then_connect
  output: "%evt.hostname"
  priority: ERROR
- macro: new_listener
  condition: evt.type = listen
  correlation: {type: first_seen, group-by: [evt.hostname], field: proc.exepath, lookback: 7d, learning: 1d}
- rule: New listener
  desc: d
  condition: new_listener
  output: "%proc.exepath"
  priority: NOTICE
"""
REFUSED = (
    "{at: %s, evt.hostname: %s, evt.type: openat, res: EACCES, fd.name: /etc/secret/%s, proc: {name: cat, user: %s}}"
)


def refused(*events: tuple[str, str, str, str]) -> str:
    """Return refused opens as events of a case: time, host, name, user."""
    return ", ".join(REFUSED % event for event in events)


def outcome(given: str, expect: str) -> CaseResult:
    """Run one case."""
    result = load_rules([RuleFile("rules.yaml", RULES)])
    assert result.errors == ()
    suite, problems = read_suite("a_test.yaml", f"- {{name: n, given: [{given}], expect: {expect}}}")
    assert problems == ()
    return Runner(suite, RuleSet(result.rules, result.macros), "all", lambda _: ()).run(suite.cases[0])


def progress(found: CaseResult) -> list[str]:
    """Return how far the windows of the only rule that didn't raise came."""
    [failure] = found.failures
    return failure.trees[0].splitlines()


def test_a_rule_over_several_hosts_is_testable() -> None:
    """Each event names its host; windows count values of all of them."""
    given = refused(("0s", "web-1", "a", "nobody"), ("1s", "web-2", "b", "nobody"), ("2s", "web-1", "c", "nobody"))
    count, hosts = "'correlation.count[three_secrets_refused]': 3", "'correlation.values[refused_on_two_hosts]'"
    fields = f"{{evt.hostname: web-1, correlation.group: nobody, {count}, {hosts}: '(web-2,web-1)'}}"

    assert outcome(given, f"[{{rule: Secrets refused on several hosts, output_fields: {fields}}}]").failures == ()
    assert outcome(given.replace("web-2", "web-1"), "none").passed


def test_equal_processes_of_two_hosts_are_two_processes() -> None:
    """A change of one on its host doesn't change the other, and each host has its own batches."""
    opened = "{host: a, evt.type: openat, fd.name: /etc/one, proc: x}"
    chain = f"{opened}, {{at: 1s, host: b, evt.type: connect, to: 10.0.0.1:80, proc: x}}"

    assert outcome(chain, "none").passed
    assert outcome(chain.replace("host: b", "host: a"), "[Read and connected]").passed


def test_a_failed_window_says_how_far_it_came() -> None:
    """With the values, the group, and the times of the events in it."""
    given = refused(("0s", "web-1", "a", "nobody"), ("20s", "web-1", "b", "nobody"), ("25s", "web-1", "a", "games"))

    found = outcome(given, "[Secrets refused on several hosts]")

    nobody, games = "group user.name = nobody, window from", "group user.name = games, window from"
    assert progress(found) == [
        f"three_secrets_refused: 2 of 3 values of fd.name (/etc/secret/a, /etc/secret/b), {nobody} 0s to 20s",
        f"three_secrets_refused: 1 of 3 values of fd.name (/etc/secret/a), {games} 25s to 25s",
        f"refused_on_two_hosts: 1 of 2 hosts (web-1), {nobody} 20s to 20s",
        f"refused_on_two_hosts: 1 of 2 hosts (web-1), {games} 25s to 25s",
    ]
    assert found.failures[0].trees[1].startswith("event 1 on web-1, openat:\n")
    assert "counts     macro three_secrets_refused" in found.failures[0].trees[1]


def test_the_best_window_is_told_even_if_it_has_expired() -> None:
    """A window whose events are too far apart has fewer at the end."""
    given = refused(("0s", "a", "a", "nobody"), ("1s", "b", "b", "nobody"), ("10m", "a", "c", "nobody"))

    assert progress(outcome(given, "[Secrets refused on several hosts]"))[0] == (
        "three_secrets_refused: 2 of 3 values of fd.name (/etc/secret/a, /etc/secret/b), group user.name = nobody, "
        "window from 0s to 1s"
    )


def test_a_failed_sequence_says_which_steps_came() -> None:
    """A step may have come before the one that it must follow."""
    early = "{evt.type: connect, to: 10.0.0.1:80, proc: x}, {at: 1s, evt.type: openat, fd.name: /etc/one, proc: x}"

    steps = "1 of 2 steps came: reads; next would be connects, which came, but not after reads within 1m"
    window = "group evt.hostname = test-host, window from 1s to 1s"
    assert progress(outcome(early, "[Read and connected]")) == [f"read_then_connect: {steps}, {window}"]


def test_a_macro_that_still_learns_says_until_when() -> None:
    """So the author moves the event behind the learning period."""
    listen = "{at: %s, evt.type: listen, local: 0.0.0.0:80, proc: %s}"

    assert progress(outcome(listen % ("0s", "nc"), "[New listener]")) == [
        "new_listener: proc.exepath = /usr/bin/nc, still learning until 1d, group evt.hostname = test-host"
    ]
    learned = ", ".join((listen % ("0s", "nc"), listen % ("25h", "nc")))
    assert progress(outcome(learned, "[New listener]")) == [
        "new_listener: proc.exepath = /usr/bin/nc was already known, group evt.hostname = test-host"
    ]


def test_a_window_that_no_event_reached_names_what_events_need() -> None:
    """An event that lacks a field of the group doesn't count."""
    given = "{evt.type: openat, res: EACCES, fd.name: /etc/secret/a, proc: {name: cat, user: null, uid: 7}}"

    assert progress(outcome(given, "[Secrets refused on several hosts]")) == [
        "three_secrets_refused: no event counted (an event without user.name or fd.name doesn't count)",
        "refused_on_two_hosts: no event counted (an event without user.name or evt.hostname doesn't count)",
    ]


def test_clocks_of_hosts_may_differ() -> None:
    """What arrives counts no later than it arrives, and an event that is dated too early is out of the window."""
    first, second = (REFUSED % (at, host, name, "nobody") for at, host, name in (("0s", "a", "x"), ("5s", "b", "y")))
    third = REFUSED % ("10s", "a", "z", "nobody")

    def given(clock: str) -> str:
        return ", ".join((first, second.replace("{at", f"{{clock: {clock}, at"), third))

    expect = "[Secrets refused on several hosts]"
    assert outcome(given("10m"), expect).passed
    assert outcome(given("-30s"), expect).passed
    late = progress(outcome(given("-10m"), expect))
    window = "group user.name = nobody, window from 10s to 10s, 1 late event left out"
    assert late[-1] == f"refused_on_two_hosts: 1 of 2 hosts (a), {window}"
