"""A host with a collector's rights sends whatever hypothesis makes, beside honest hosts, to real processors."""

from collections import Counter
from collections.abc import Callable

from tests.adversary.fleet.conftest import Attacked
from tests.adversary.length import MARKS

pytestmark = MARKS

PROCESSOR_GROWTH_MIB = 300
"""What a processor may take more than at its start, at its peak, whatever is sent to it."""
NOTIFIER_GROWTH_MIB = 100


def test_alerts_about_honest_hosts_are_those_of_a_fleet_in_peace(
    attacked: Attacked, record_property: Callable[[str, object], None]
) -> None:
    """The same ids with the same content, none missing, none more; each is delivered once."""
    expected = attacked.peace.honest_alerts()
    rules = Counter(alert.rule for alert in expected.values())
    record_property("alerts", dict(rules))
    assert len(expected) == attacked.owed, (attacked.owed, rules)
    for fleet in attacked.attacked:
        found = fleet.honest_alerts()
        missing, more = expected.keys() - found.keys(), found.keys() - expected.keys()
        assert not missing, (fleet.identity, attacked.seeds, [expected[each].output for each in sorted(missing)[:5]])
        assert not more, (fleet.identity, attacked.seeds, [found[each] for each in sorted(more)[:5]])
        assert found == expected, (fleet.identity, attacked.seeds)
        delivered = fleet.delivered_ids()
        assert set(delivered) == set(expected), (fleet.identity, attacked.seeds)
        assert set(delivered.values()) == {1}, (fleet.identity, attacked.seeds)


def test_no_process_ends(attacked: Attacked) -> None:
    """Processors and notifiers run until stopped, then exit with 0, and none of them shows a traceback."""
    for fleet in (attacked.peace, *attacked.attacked):
        for process in fleet.running:
            assert fleet.ended[process.name] == 0, (attacked.seeds, process.errors[-3000:])
            assert process.name in fleet.after, (attacked.seeds, "it ended by itself", process.errors[-3000:])
            assert "Traceback" not in process.errors, (attacked.seeds, process.errors[-3000:])


def test_memory_stays_in_its_bound(attacked: Attacked, record_property: Callable[[str, object], None]) -> None:
    """At its peak no process has taken more than it may."""
    grown = {}
    for fleet in attacked.attacked:
        for process in fleet.running:
            grown[f"{fleet.identity} {process.name}"] = fleet.after[process.name] - fleet.before[process.name]
    record_property("MiB", grown)
    for name, growth in grown.items():
        limit = NOTIFIER_GROWTH_MIB if "notifier" in name else PROCESSOR_GROWTH_MIB
        assert growth < limit, (attacked.seeds, grown)


def test_whatever_the_hostile_host_sent_is_accounted_for(
    attacked: Attacked, record_property: Callable[[str, object], None]
) -> None:
    """Each message is a dead letter, or each of its marked events is alerted on, or the broker refused it."""
    for fleet in attacked.attacked:
        assert fleet.hostile is not None
        reasons = Counter(reason.split(":")[0] for reason in fleet.dead_letters.reasons.values())
        record_property(fleet.identity, (len(fleet.hostile.sent), fleet.hostile.refused, dict(reasons)))
        left = fleet.unaccounted()
        assert not left, (fleet.identity, attacked.seeds, len(left), str(left[:2])[:3000])
        positions = {sent.position for sent in fleet.hostile.sent}
        honest = [reason for position, reason in fleet.dead_letters.reasons.items() if position not in positions]
        assert not honest, (fleet.identity, attacked.seeds, honest[:3])
