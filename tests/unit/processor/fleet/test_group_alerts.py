from processor.fleet.group_alerts import OFFSETS_CHANGED, STRANGER, GroupAlerts, OffsetsChanged, StrangerFound

SECOND = 10**9


def test_the_same_is_reported_once_in_five_minutes() -> None:
    """Alerts name the group, and where offsets were changed, the partition and both offsets."""
    alerts = GroupAlerts("lanner.processor", "w")
    moved = OffsetsChanged("lanner.events", 3, 10, 50, "x\x1b[31m")
    found = alerts.of([StrangerFound("a"), moved, moved], SECOND)
    assert [alert.rule for alert in found] == [STRANGER, OFFSETS_CHANGED]
    assert "moved from 10 to 50" in found[1].output
    assert "\x1b" not in found[1].output
    assert found[1].output_fields["kafka.partition"] == 3
    assert alerts.of([StrangerFound("a"), moved], 200 * SECOND) == []
    assert len(alerts.of([StrangerFound("a")], 400 * SECOND)) == 1


def test_a_member_that_no_processor_reports_to_be_is_found_after_a_minute() -> None:
    """A processor that has just started has not reported yet."""
    alerts = GroupAlerts("lanner.processor", "w")
    assert alerts.unknown(["w", "new"], ["w"], 0) == []
    assert alerts.unknown(["w", "new"], ["w", "new"], 50 * SECOND) == []
    assert alerts.unknown(["w", "stranger"], ["w"], 60 * SECOND) == []
    (found,) = alerts.unknown(["w", "stranger"], ["w"], 121 * SECOND)
    assert "member stranger is given partitions" in found.text
