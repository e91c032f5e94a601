from dataclasses import dataclass

from processor.hosts.tracked import LIVE_SECONDS, HostReports


@dataclass
class Batch:
    """What is looked at."""

    host_id: str
    interest_version: str
    hostname: str = ""

    def __post_init__(self) -> None:
        self.hostname = self.hostname or f"name of {self.host_id}"


def test_hosts_that_do_not_send_what_a_version_requires_are_named() -> None:
    """A host that leaves nothing out sends what any version requires."""
    reports = HostReports()
    for host, version in (("a", "v1"), ("b", "v1+v2"), ("c", "*"), ("d", ""), ("e", "v22")):
        reports.see(0, Batch(host, version), 0.0)
    assert reports.lagging("v2", 1.0) == ["name of a", "name of d", "name of e"]
    assert reports.counts(1.0) == {"v1": 1, "v1+v2": 1, "*": 1, "": 1, "v22": 1}


def test_the_newest_report_counts() -> None:
    """A host catches up with its next batch."""
    reports = HostReports()
    reports.see(0, Batch("a", "v1"), 0.0)
    reports.see(0, Batch("a", "v1+v2"), 1.0)
    assert reports.lagging("v2", 1.0) == []


def test_nobody_waits_for_a_host_that_is_silent_or_another_s() -> None:
    """Three heartbeats without a batch, or a partition that went to another process."""
    reports = HostReports()
    reports.see(0, Batch("a", "v1"), 0.0)
    reports.see(1, Batch("b", "v1"), LIVE_SECONDS)
    assert reports.lagging("v2", LIVE_SECONDS) == ["name of b"]
    reports.forget(frozenset({1}))
    assert reports.lagging("v2", LIVE_SECONDS) == []
