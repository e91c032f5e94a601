from dataclasses import replace

from foundation.caches import NEWCOMERS
from processor.correlation.correlator import Correlator
from tests.unit.processor.correlation.rules import SSH, Host, pre_matches, rule, ruleset_of


def test_a_flood_of_groups_evicts_those_of_its_own_host() -> None:
    """What another host did before is still known, and the number of groups evicted is reported."""
    ruleset = ruleset_of(SSH, rule("many_ssh_connections"))
    correlator = Correlator(ruleset.plan, max_groups=50)
    quiet, loud = Host("quiet"), Host("loud")
    correlator.process(pre_matches(ruleset, quiet.accept(0, "10.0.0.1"), quiet.accept(1, "10.0.0.1")))

    for number in range(500):
        correlator.process(pre_matches(ruleset, loud.accept(2, f"10.1.{number // 250}.{number % 250}")))

    assert len(correlator.store) == 50
    assert correlator.store.evicted == {"loud": 451}
    assert len(correlator.process(pre_matches(ruleset, quiet.accept(3, "10.0.0.1")))) == 1


def test_groups_under_made_up_host_ids_push_out_no_known_host() -> None:
    """A host with five windows is not the one with the most among a hundred thousand ids with one each."""
    ruleset = ruleset_of(SSH, rule("many_ssh_connections"))
    correlator, victim = Correlator(ruleset.plan, max_groups=500), Host("victim")
    for at in (0, 1):
        correlator.process(pre_matches(ruleset, *(victim.accept(at, f"10.9.9.{client}") for client in range(5))))

    for number in range(2_000):
        batch = replace(Host(f"made-up-{number}").accept(2, f"2001:db8::{number:x}"), is_established=False)
        correlator.process(pre_matches(ruleset, batch))

    assert len(correlator.store) == 500
    assert correlator.store.evicted == {NEWCOMERS: 1505}
    fifth = [correlator.process(pre_matches(ruleset, victim.accept(3, f"10.9.9.{client}"))) for client in range(5)]
    assert list(map(len, fifth)) == [1] * 5


def test_a_group_that_a_newcomer_made_counts_for_the_known_host_that_touches_it() -> None:
    """Whoever makes the groups of others first can't have them forgotten with its own."""
    ruleset = ruleset_of(SSH, rule("many_ssh_connections"))
    correlator, victim = Correlator(ruleset.plan, max_groups=10), Host("victim")
    for seconds, host in ((0, Host("new")), (1, victim)):
        batch = replace(host.accept(seconds), is_established=host is victim)
        correlator.process(pre_matches(ruleset, batch))
    for number in range(50):
        batch = replace(Host("new").accept(2, f"10.9.9.{number}"), is_established=False)
        correlator.process(pre_matches(ruleset, batch))

    assert len(correlator.process(pre_matches(ruleset, victim.accept(3)))) == 1


def test_repeats_of_an_evicted_group_are_reported_at_once() -> None:
    """Nothing is dropped without being counted."""
    ruleset = ruleset_of(rule("evt.type = openat", "%fd.name", "suppress: {by: [fd.name], for: 10m}"))
    correlator = Correlator(ruleset.plan, max_groups=2)
    host = Host()

    alerts = correlator.process(
        pre_matches(ruleset, host.download(0, "/a"), host.download(1, "/a"), *(host.download(2, f"/{n}") for n in "bc"))
    )

    assert [alert.output for alert in alerts] == ["/a", "/b", "/c", "REPEATED 1 more time in 10m: /a"]
