from dataclasses import replace

from processor.internal_alerts import EVENTS_LOST, QUIET_SECONDS, Cause, InternalAlerts

CAUSE = Cause("id-1", "web-3", 1_795_530_690_000_000_000, ("boot", 1, 7))


def lose(alerts: InternalAlerts, number: int, cause: Cause = CAUSE) -> None:
    """Note a loss."""
    alerts.add(EVENTS_LOST, cause, {"events_ring_full": number}, priority="Warning")


def test_the_first_is_told_at_once_and_the_rest_as_a_sum() -> None:
    """At most one in five minutes a host, and nothing that was counted is left out."""
    alerts = InternalAlerts()
    lose(alerts, 5)
    (first,) = alerts.due(0)
    assert first.output == "5 events were lost | events_ring_full: 5"
    assert (first.rule, first.source, first.hostname, first.host_id) == (EVENTS_LOST, "internal", "web-3", "id-1")
    for number in range(1, 5):
        lose(alerts, number, replace(CAUSE, batch=("boot", 1, 7 + number)))
        assert alerts.due(QUIET_SECONDS * 0.2 * number) == []
    (second,) = alerts.due(QUIET_SECONDS)
    assert second.output_fields["events_ring_full"] == 10
    assert second.id != first.id
    assert alerts.due(QUIET_SECONDS * 10) == []


def test_hosts_do_not_silence_each_other() -> None:
    """Each host has its own five minutes."""
    alerts = InternalAlerts()
    lose(alerts, 1)
    lose(alerts, 2, replace(CAUSE, host_id="id-2", hostname="db-1"))
    assert [alert.hostname for alert in alerts.due(0)] == ["web-3", "db-1"]


def test_the_same_batch_makes_the_same_id() -> None:
    """What is told twice after a crash can be told apart from two losses."""
    ids = set()
    for _ in range(2):
        alerts = InternalAlerts()
        lose(alerts, 5)
        ids |= {alert.id for alert in alerts.due(0)}
    assert len(ids) == 1


def test_the_end_tells_what_is_left() -> None:
    """However early it is."""
    alerts = InternalAlerts()
    lose(alerts, 5)
    alerts.due(0)
    lose(alerts, 6)
    (last,) = alerts.due(1, final=True)
    assert last.output_fields["events_ring_full"] == 6
    assert alerts.due(2, final=True) == []
