"""What a fleet needs, computed from measured costs."""

import math

import pytest

from lanner.operations.sizing import MEASURED, FleetPlan, PartNeeds, Prices, Sizing, batches_per_host, size_fleet

FREE = Prices()


def parts(sizing: Sizing) -> dict[str, PartNeeds]:
    """Return the parts by name."""
    return {part.name: part for part in sizing.parts}


def test_a_host_sends_a_batch_at_the_latest_after_the_wait() -> None:
    """At 20 events a second and a wait of 100 ms, a batch takes 50 ms for its first event and 100 ms for more."""
    assert batches_per_host(20, 0.1) == pytest.approx(1 / 0.15)


def test_a_busy_host_waits_half_as_long() -> None:
    """From 500 events a second on, as in collector/settings.py."""
    assert batches_per_host(499, 0.1) == pytest.approx(499 / 50.9)
    assert batches_per_host(500, 0.1) == pytest.approx(500 / 26)


def test_an_idle_host_sends_heartbeats() -> None:
    """Four a minute."""
    assert batches_per_host(0, 0.1) == pytest.approx(4 / 60)


def test_a_full_batch_does_not_wait() -> None:
    """A flood of 100,000 events a second fills 200 batches."""
    assert batches_per_host(100_000, 0.1) == pytest.approx(200)


def test_twice_the_hosts_need_twice_the_cores_and_the_disk() -> None:
    """Every part works for each host."""
    one, two = (parts(size_fleet(FleetPlan(hosts=hosts, events_per_host=50), FREE)) for hosts in (1000, 2000))
    for name in ("collectors", "brokers", "processors"):
        assert two[name].cores == pytest.approx(2 * one[name].cores, rel=0.01)
    assert two["brokers"].disk_bytes == pytest.approx(2 * one["brokers"].disk_bytes, rel=0.01)


def test_longer_batches_need_fewer_cores_for_the_same_events() -> None:
    """A batch costs as much as a hundred events."""
    short, long = (size_fleet(FleetPlan(hosts=1000, events_per_host=20, batch_ms=wait), FREE) for wait in (100, 1000))
    assert short.events == long.events
    assert parts(long)["processors"].cores < parts(short)["processors"].cores / 4
    assert parts(long)["brokers"].cores < parts(short)["brokers"].cores / 4


def test_an_archive_needs_disk_for_its_days() -> None:
    """Its disk is paid as that of the brokers; a fleet without one has no such part."""
    without, month, year = (
        size_fleet(FleetPlan(hosts=1000, events_per_host=20, archive_days=days), Prices(gb_month=1))
        for days in (0, 30, 360)
    )
    assert "archive" not in parts(without)
    assert parts(year)["archive"].disk_bytes == pytest.approx(12 * parts(month)["archive"].disk_bytes)
    assert parts(month)["archive"].disk_bytes > 1000 * 20 * 47 * 30 * 86_400
    assert month.cost_month - without.cost_month == pytest.approx(parts(month)["archive"].disk_bytes / 1e9)


def test_the_smallest_fleet_survives_the_failure_of_one() -> None:
    """Two processors, and as many brokers as copies."""
    small = size_fleet(FleetPlan(hosts=1, events_per_host=0, replicas=3), FREE)
    assert (parts(small)["processors"].instances, parts(small)["brokers"].instances) == (2, 3)
    assert small.partitions == 8


def test_the_load_leaves_room_on_each_core() -> None:
    """A processor that is planned to be half busy stands for half of a core."""
    plan = FleetPlan(hosts=10_000, events_per_host=20, load=0.5)
    processors = parts(size_fleet(plan, FREE))["processors"]
    assert processors.instances == math.ceil(processors.cores / 0.5) + 1


def test_every_resource_has_its_price() -> None:
    """The cost is the sum of cores, disk and network; without prices it is 0."""
    plan = FleetPlan(hosts=1000, events_per_host=50)
    assert size_fleet(plan, FREE).cost_month == 0
    sizing = size_fleet(plan, Prices(core_month=20))
    assert sizing.cost_month == pytest.approx(20 * sizing.planned_cores)
    disk = size_fleet(plan, Prices(gb_month=0.1)).cost_month
    assert disk == pytest.approx(0.1 * parts(sizing)["brokers"].disk_bytes / 1e9)
    sent = sum(part.sent_bytes for part in sizing.parts)
    assert size_fleet(plan, Prices(network_gb=0.01)).cost_month == pytest.approx(0.01 * sent * 730 * 3600 / 1e9)


def test_retention_and_copies_decide_the_disk() -> None:
    """Half a day on two copies takes a third of a day on three."""
    whole = parts(size_fleet(FleetPlan(hosts=100, events_per_host=50), FREE))["brokers"]
    less = parts(size_fleet(FleetPlan(hosts=100, events_per_host=50, retention_hours=12, replicas=2), FREE))["brokers"]
    assert less.disk_bytes == pytest.approx(whole.disk_bytes / 3, rel=0.01)
    assert MEASURED.batch_bytes > MEASURED.event_bytes


def test_hosts_and_their_windows_take_memory_of_processors() -> None:
    """What a processor knows about hosts is there once, however many share them."""
    one, two = (
        parts(size_fleet(FleetPlan(hosts=1000, events_per_host=0, groups_per_host=groups), FREE))["processors"]
        for groups in (0, 100)
    )
    assert two.memory_bytes - one.memory_bytes == 100_000 * MEASURED.group_memory_bytes
