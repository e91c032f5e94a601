import json
from dataclasses import replace

import pytest

from processor.fleet.rules.peers import LIVE_MS, REPORTED, STALE_MS, Peers, Report, all_evaluate, not_ready, read_report

ONE = Report("one", "v1", ("v1", "v2"), since=5, rules=3, waiting="v2", lagging=("web",), hosts={"v1": 2})
COSTLY = replace(ONE, seconds={"a": 1.5})
TWO = Report("two", "v1", ("v1",), refused="v2: why")


def test_a_report_comes_back_as_it_was() -> None:
    """As JSON, for people to read as well."""
    assert read_report(ONE.encoded()) == ONE
    assert read_report(TWO.encoded()) == TWO
    assert read_report(COSTLY.encoded()) == COSTLY


def test_a_report_of_an_earlier_release_has_no_costs() -> None:
    """It is read all the same."""
    row = {name: value for name, value in json.loads(COSTLY.encoded()).items() if name != "seconds"}
    assert read_report(json.dumps(row).encode()) == ONE


@pytest.mark.parametrize("value", [b"", b"null", b"[]", b"{}", b'{"worker": "x"}', b"\xff", b"[" * 10_000])
def test_what_is_no_report_is_none(value: bytes) -> None:
    """Nothing in the topic can stop a processor."""
    assert read_report(value) is None


def test_who_died_is_not_waited_for_and_forgotten_later() -> None:
    """A clean end deletes the report itself."""
    peers = Peers()
    for report in (ONE, TWO):
        peers.take(report.worker.encode(), report.encoded(), 0)
    assert [report.worker for report in peers.live(LIVE_MS - 1)] == ["one", "two"]
    assert peers.live(LIVE_MS) == []
    assert peers.stale(STALE_MS) == [b"one", b"two"]
    peers.take(b"one", None, 1)
    assert [report.worker for report in peers.live(1)] == ["two"]


def test_a_version_is_waited_for_until_all_understand_it() -> None:
    """What a processor detects by it must not reach one that does not know it."""
    assert not_ready("v2", [ONE, TWO]) == ["two"]
    assert not_ready("v1", [ONE, TWO]) == []
    assert all_evaluate("v1", [ONE, TWO])
    assert not all_evaluate("v2", [ONE, TWO])


def test_what_was_reported_is_remembered() -> None:
    """By all processors, over restarts."""
    peers = Peers()
    peers.take(REPORTED, b"20261124-190000-00000000", 0)
    assert peers.reported == "20261124-190000-00000000"
    assert peers.live(0) == []
