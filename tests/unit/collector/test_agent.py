"""What a collector reports about itself, without a kernel."""

from pathlib import Path

import pytest

from bus.connection import Connection
from collector.agent import Collector
from collector.containers.lookup import OUTCOMES
from collector.events.system_calls import BY_EVENT
from collector.processes.files import ProcessFiles
from collector.procfs.look_ups import IDLE_SECONDS
from collector.publishing.publisher import Publisher
from collector.publishing.spool import Spool
from collector.records.dns import DnsAnswer, written
from collector.settings import CollectorSettings
from lanner.operations.catalogue import METRICS
from lanner.operations.collector import CollectorView
from schemas.batch import EventBatch
from tests.unit.collector.packed import EXEC, process, socket_info, syscall


@pytest.mark.parametrize(
    ("events", "waited", "wait"), [(25, 0.05, 0.05), (24, 0.05, 0.1), (1, 0.001, 0.05), (1, 0.05, 0.1)]
)
def test_a_batch_waits_half_as_long_while_many_events_come(events: int, waited: float, wait: float) -> None:
    """Many are 500 per second, unless the settings have another size of batches."""
    assert CollectorSettings().wait_seconds(events, waited) == wait


class TestCollector:
    """Records are passed directly to its intake."""

    @pytest.fixture(autouse=True)
    def collector(self, tmp_path: Path) -> None:
        """Set up a collector that is not attached."""
        self.batches: list[EventBatch] = []
        settings = CollectorSettings(docker_socket=tmp_path / "docker.sock", flush_events=3, unknown_containers=False)
        self.collector = Collector(("openat",), on_batch=self.batches.append, settings=settings)

    def test_a_batch_is_emitted_when_it_is_full(self) -> None:
        """Event numbers and sequence numbers continue in the next batch."""
        record = syscall(event=BY_EVENT["openat"].number, path1=b"/x")
        self.collector.intake.take([record] * 7)

        assert [(batch.sequence, batch.first_number, batch.count) for batch in self.batches] == [(1, 1, 3), (2, 4, 3)]
        assert (self.batches[0].watched, self.batches[1].watched) == (["openat"], [])
        assert self.collector.events == 7

    def test_a_program_that_starts_containers_starts_the_process_for_look_ups(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It runs once the container's first event comes; other programs start none, and at rest it ends."""
        # Those of this machine that have the records' ids would be looked up.
        monkeypatch.setattr(ProcessFiles, "read", lambda *_: None)
        look_ups = self.collector._look_ups
        for program, starts_it in ((b"bash", False), (b"runcs", False), (b"runc", True), (b"containerd-shim", True)):
            self.collector.intake.take([process(EXEC, comm=program)])
            look_ups.end_idle(IDLE_SECONDS)
            assert (look_ups.pid is not None) is starts_it, program
            look_ups.end_idle(0)
            assert look_ups.pid is None
        look_ups.close()

    def test_an_event_that_a_rule_may_match_waits_for_no_others_while_few_come(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Ten are sent at once, then those within 20 ms together; in a flood, none is sent before its time."""
        now = 100.0
        monkeypatch.setattr("collector.agent.time.monotonic", lambda: now)
        settings = CollectorSettings(docker_socket=tmp_path / "docker.sock", flush_seconds=5.0, hurries=True)
        collector = Collector(("openat",), on_batch=self.batches.append, settings=settings)
        record = syscall(event=BY_EVENT["openat"].number, path1=b"/x")

        def sent(count: int) -> int:
            before = len(self.batches)
            for _ in range(count):
                collector._take([record])
                collector.poll(0)
            return len(self.batches) - before

        assert sent(20) == 11
        now += 0.02
        assert sent(20) == 1
        now += 3.0
        collector._take([record] * 100)
        assert sent(1) == 0
        now += 0.3
        assert sent(1) == 1

    def test_a_flood_of_answers_delays_no_other_event(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Answers are soon too many to be sent at once, but thousands in a second make no host busy."""
        now = 100.0
        monkeypatch.setattr("collector.agent.time.monotonic", lambda: now)
        settings = CollectorSettings(docker_socket=tmp_path / "docker.sock", flush_seconds=5.0, hurries=True)
        collector = Collector(("openat", "read"), on_batch=self.batches.append, settings=settings)
        server = socket_info(2, kind=2, protocol=17, local_port=40_000, remote_port=53, remote=bytes([10, 0, 0, 53]))

        def answers(first: int, count: int) -> list[bytes]:
            messages = [
                written(DnsAnswer(f"{at}.example", "A", "NOERROR", ("10.0.0.7",))) for at in range(first, first + count)
            ]
            number = BY_EVENT["read"].number
            return [
                syscall(event=number, result=len(each), fd=3, mode=0o140777, blob1=each, socket=server)
                for each in messages
            ]

        def sent(records: list[bytes]) -> list[int]:
            before = len(self.batches)
            collector._take(records)
            collector.poll(0)
            return [batch.count for batch in self.batches[before:]]

        assert sent(answers(0, 1)) == [1]
        assert sent(answers(1, 30)) == [30]
        for number in range(25):
            for turn in range(4):
                now += 0.003
                # They wait for 10 ms.
                assert sent(answers(31 + 15 * (4 * number + turn), 15)) == ([60] if turn == 3 else [])
        now += 0.003
        assert sent([syscall(event=BY_EVENT["openat"].number, path1=b"/x")]) == [1]

    def test_in_a_flood_batches_wait_longer(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Larger ones cost less, and a busy host has no time to spare."""
        now = 100.0
        monkeypatch.setattr("collector.agent.time.monotonic", lambda: now)
        settings = CollectorSettings(docker_socket=tmp_path / "docker.sock", flush_seconds=0.02, hurries=True)
        collector = Collector(("openat",), on_batch=self.batches.append, settings=settings)
        for _ in range(3):
            now += 0.035
            collector._take([syscall(event=BY_EVENT["openat"].number, path1=b"/x")] * 100)
            collector.poll(0)
        assert [batch.count for batch in self.batches] == [300]

    def test_a_batch_names_the_rules_that_require_its_events(self, tmp_path: Path) -> None:
        """A processor thus knows that nothing was left out that its version needs, from the first batch on."""
        settings = CollectorSettings(docker_socket=tmp_path / "docker.sock", host_name="web-1")
        collector = Collector(
            ("openat",), on_batch=self.batches.append, versions=frozenset({"one", "two"}), settings=settings
        )
        assert not collector.is_attached

        collector.change_pushdown_filter(("openat",), None, frozenset({"two"}))

        assert [(batch.hostname, batch.interest_version) for batch in self.batches] == [
            ("web-1", "one+two"),
            ("web-1", "two"),
        ]

    def test_each_loss_is_reported_by_one_batch(self) -> None:
        """The total keeps growing; each batch reports the difference."""
        record = syscall(event=BY_EVENT["openat"].number, path1=b"/x")
        self.collector.intake.take([b"no record", record, record, record, record, record, record])

        assert self.batches[0].lost["undecodable"] == 1
        assert "undecodable" not in self.batches[1].lost
        assert self.collector.losses["undecodable"] == 1

    def test_every_counter_is_a_metric(self, tmp_path: Path) -> None:
        """An event of an unknown process makes the collector read /proc, and the metric shows it."""
        self.collector.intake.take([syscall(event=BY_EVENT["openat"].number, path1=b"/x")])

        spool = Spool(tmp_path / "spool", 1 << 20)
        publisher = Publisher(Connection(bootstrap_servers="127.0.0.1:1"), "host", spool)
        readings = CollectorView(self.collector, publisher, spool, spool_limit=1, stuck_seconds=1.0).readings()
        publisher.close(0)

        assert readings["lanner_process_corrections_total"] == {("reread",): 1, ("ended",): 0, ("changed",): 0}
        assert readings["lanner_container_lookups_total"] == {(outcome,): 0 for outcome in OUTCOMES}
        assert readings["lanner_container_unknown_seconds"] == {(): 0}
        assert set(readings["lanner_features_off"].values()) == {0}
        assert readings["lanner_events_without_container_total"] == {("timeout",): 0, ("too_many",): 0}
        assert readings.keys() <= METRICS.keys()
