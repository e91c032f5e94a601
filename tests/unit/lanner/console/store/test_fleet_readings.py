from pathlib import Path

from tests.unit.lanner.console.alerts import HOUR, NOW, filled, found


def test_the_alerts_of_each_rule_are_counted_in_a_time_range(tmp_path: Path) -> None:
    """A rule without alerts in it is listed with its newest alert of any time."""
    alerts = [found(number, hostname=f"web-{number % 2}") for number in range(0, 50, 10)]
    alerts += [found(60 * 24 * 9, rule="Old"), found(1, rule="Read sensitive file", priority="Error", output="Other")]
    view, reader = filled(tmp_path, alerts)
    activity = reader.rules("24h", NOW)
    assert {rule: each.count for rule, each in activity.rules.items()} == {"Read sensitive file": 6, "Old": 0}
    assert activity.rules["Read sensitive file"].priority == "Error"
    assert sum(activity.rules["Read sensitive file"].sparkline) == 6
    assert activity.rules["Old"].last == activity.oldest == (NOW - 9 * 24 * HOUR) // 1000
    assert activity.rules["Old"].sparkline == ()
    everything = reader.rules("all", NOW)
    assert (everything.since, everything.rules["Old"].count) == (everything.oldest, 1)
    view.close()


def test_a_view_without_alerts_has_no_rules(tmp_path: Path) -> None:
    """And no oldest alert."""
    view, reader = filled(tmp_path, [])
    activity = reader.rules("7d", NOW)
    assert (dict(activity.rules), activity.oldest) == ({}, 0)
    view.close()


def test_the_newest_alerts_of_a_rule_are_whole(tmp_path: Path) -> None:
    """Newest first, up to a limit."""
    view, reader = filled(tmp_path, [found(number, output_fields={"n": number}) for number in range(5)])
    assert [each.output_fields["n"] for each in reader.newest_of_rule("Read sensitive file", 2)] == [0, 1]
    assert reader.newest_of_rule("none", 2) == []
    view.close()


def test_hosts_are_found_by_rules_and_counted_by_alerts(tmp_path: Path) -> None:
    """Since a time."""
    alerts = [found(number * 40, hostname=f"web-{number}") for number in range(3)]
    view, reader = filled(tmp_path, [*alerts, found(5, hostname="web-0", rule="Other")])
    hour = (NOW - HOUR) // 1000
    assert reader.hosts_of_rules(("Read sensitive file", "none"), hour) == {"web-0", "web-1"}
    assert reader.alerts_of_hosts({"web-0", "web-2", "none"}, hour) == {"web-0": 2}
    assert reader.alerts_of_hosts((), hour) == {}
    view.close()
