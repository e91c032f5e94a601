import os
import resource
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from bus.clients import producers
from bus.clients.readers import TopicReader
from bus.connection import Connection
from bus.topics import EVENTS, SCHEMAS
from collector.publishing.publisher import Publisher
from collector.publishing.spool import FAILED, FULL, Spool
from schemas.encoding.batch import encode_batch
from tests.cluster.actions import Host
from tests.cluster.answering_links import RefusingLink
from tests.cluster.broker import Broker
from tests.cluster.conftest import with_topics
from tests.notes import into
from tests.ports import free_port


def events_of(connection: Connection, count: int, timeout: float = 30) -> list[bytes]:
    """Read so many batches from the start of the events topic, and any that follow shortly."""
    reader = TopicReader(connection, connection.topic(EVENTS), whole=True)
    found: list[bytes] = []
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        message = reader.poll(0.1)
        if message is not None:
            assert message.key() == b"host-1"
            found.append(message.value() or b"")
        elif len(found) >= count:
            break
    reader.close()
    return found


def drain(publisher: Publisher, timeout: float = 30) -> None:
    """Poll as the collector's loop does until everything is sent."""
    deadline = time.monotonic() + timeout
    while publisher.has_waiting and time.monotonic() < deadline:
        publisher.poll(0.02)
    assert not publisher.has_waiting


def test_batches_arrive_as_encoded_and_the_schema_with_them(connection: Connection, tmp_path: Path) -> None:
    """With a broker nothing is spooled, and readers find the schema by the message's fingerprint."""
    host = Host("host-1")
    publisher = Publisher(connection, host.name, Spool(tmp_path / "spool", 1 << 20))
    sent = []
    for _ in range(20):
        batch = host.batch("x")
        sent.append(encode_batch(batch))
        publisher.publish(batch)
        publisher.poll()
    drain(publisher)
    assert list((tmp_path / "spool").iterdir()) == []
    assert publisher.close(5) == 0
    assert events_of(connection, len(sent)) == sent
    reader = TopicReader(connection, connection.topic(SCHEMAS), whole=True)
    message = None
    deadline = time.monotonic() + 10
    while message is None and time.monotonic() < deadline:
        message = reader.poll(0.2)
    reader.close()
    assert message is not None
    assert message.key() == sent[0][2:10].hex().encode()


def test_a_batch_that_waits_for_an_answer_is_sent_with_the_next(connection: Connection, tmp_path: Path) -> None:
    """Batches that are larger than any before are sent alone, but none of them waits for the collector's next poll."""
    host = Host("host-1")
    publisher = Publisher(connection, host.name, Spool(tmp_path / "spool", 1 << 20))
    batches = [host.batch(os.urandom(size).hex()) for size in (10, 100_000, 200_000, 10)]
    for number, batch in enumerate(batches):
        publisher.publish(batch)
        assert len(events_of(connection, number + 1)) == number + 1
        # A reader may see a batch before its answer has come back.
        time.sleep(1)
    drain(publisher)
    assert publisher.close(5) == 0


def test_what_the_broker_missed_comes_later_in_order(own_broker: Broker, tmp_path: Path) -> None:
    """The broker stops under load and the collector restarts: all batches arrive, in order and unchanged."""
    connection = with_topics(own_broker, 2)
    folder = tmp_path / "spool"
    host = Host("host-1")
    sent: list[bytes] = []
    notes: list[str] = []

    def publish(publisher: Publisher, count: int) -> None:
        for _ in range(count):
            batch = host.batch("x")
            sent.append(encode_batch(batch))
            publisher.publish(batch)
            publisher.poll(0.005)

    first = Publisher(connection, host.name, Spool(folder, 8 << 20), on_note=into(notes), patience_seconds=0.3)
    publish(first, 30)
    drain(first)
    own_broker.stop()
    publish(first, 60)
    time.sleep(0.5)
    publish(first, 60)
    assert first.close(1) > 0
    files = sorted(folder.glob("*.avro"))
    assert files
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in files)
    second = Publisher(connection, host.name, Spool(folder, 8 << 20), on_note=into(notes), patience_seconds=0.3)
    publish(second, 30)
    own_broker.start()
    publish(second, 30)
    drain(second)
    publish(second, 10)
    drain(second)
    assert second.close(5) == 0
    assert list(folder.glob("*.avro")) == []
    assert not second.losses
    got = events_of(connection, len(sent))
    # What was on its way when the first ended may have arrived, and then comes twice: nothing else may.
    assert list(dict.fromkeys(got)) == sent
    assert any("accepts no events" in note for note in notes)
    assert any("accepts events again" in note for note in notes)


def test_a_batch_that_is_refused_for_now_stays_the_first(tmp_path: Path) -> None:
    """A broker that restarts refuses the first batch, which the next one does not overtake."""
    port = free_port()
    broker = Broker(tmp_path / "kafka")
    with RefusingLink(port) as proxy:
        broker.add_listeners({"proxied": (port, proxy.port)})
        broker.start()
        connection = with_topics(broker, 2)
        proxied = replace(connection, bootstrap_servers=f"127.0.0.1:{proxy.port}", compression="none")
        host = Host("host-1")
        publisher = Publisher(proxied, host.name, Spool(tmp_path / "spool", 1 << 20))
        batches = [host.batch("first"), host.batch("second")]
        proxy.refuse(b"/marked/first")
        publisher.publish(batches[0])
        deadline = time.monotonic() + 30
        while not proxy.has_refused:
            assert time.monotonic() < deadline
            publisher.poll(0.01)
        publisher.publish(batches[1])
        drain(publisher)
        assert publisher.close(5) == 0
        assert events_of(connection, 2) == [encode_batch(batch) for batch in batches]
        broker.remove()


def test_a_client_that_stays_silent_is_replaced(
    own_broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new one sends everything that the old one held, in order; here the broker is what is silent."""
    monkeypatch.setattr(producers, "STALLED_SECONDS", 1.0)
    connection = with_topics(own_broker, 2)
    host = Host("host-1")
    publisher = Publisher(connection, host.name, Spool(tmp_path / "spool", 1 << 20), patience_seconds=0.3)
    sent = []
    own_broker.pause()
    for _ in range(20):
        batch = host.batch("x")
        sent.append(encode_batch(batch))
        publisher.publish(batch)
    until = time.monotonic() + 3.5
    while time.monotonic() < until:
        publisher.poll(0.02)
    own_broker.resume()
    drain(publisher)

    assert publisher.close(5) == 0
    assert publisher._generation > 1
    assert list(dict.fromkeys(events_of(connection, len(sent)))) == sent


def test_a_full_spool_drops_the_oldest_and_counts_it(own_broker: Broker, tmp_path: Path) -> None:
    """While the broker hangs, memory and disk stay bounded; sent plus lost events equal all events."""
    connection = with_topics(own_broker, 2)
    host = Host("host-1", others=400)
    window = 1 << 20
    spool = Spool(tmp_path / "spool", 1 << 20)
    publisher = Publisher(connection, host.name, spool, window_bytes=window, patience_seconds=0.3)
    own_broker.pause()
    made: list[bytes] = []
    events = 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(600):
        batch = host.batch(*(f"{number}-{index}-{number * 7919 % 10007:x}" for index in range(100)))
        made.append(encode_batch(batch))
        events += batch.count
        publisher.publish(batch)
        publisher.poll()
        assert spool.size < (1 << 20) + (1 << 17)
    stored = sum(map(len, made)) // 1024
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before - stored
    assert grown < 12 * 1024, f"{grown} KiB more memory"
    own_broker.resume()
    drain(publisher)
    assert publisher.close(5) == 0
    got = list(dict.fromkeys(events_of(connection, 1)))
    indexes = [made.index(each) for each in got]
    assert indexes == sorted(indexes)
    assert made[-1] in got
    lost = publisher.losses
    assert set(lost) == {FULL}
    each = events // len(made)
    assert len(got) * each + lost[FULL] == events


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[None]:
    """Mount a file system of a given size in KiB."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.skipif("CI" not in os.environ and os.geteuid() != 0, reason="mounts a file system")
def test_a_disk_that_is_full_costs_what_is_counted(own_broker: Broker, tmp_path: Path) -> None:
    """With a full disk, sent plus lost events still equal all events."""
    connection = with_topics(own_broker, 2)
    host = Host("host-1", others=400)
    notes: list[str] = []
    with small_disk(tmp_path / "disk", 512):
        spool = Spool(tmp_path / "disk" / "spool", 64 << 20, on_error=notes.append)
        publisher = Publisher(connection, host.name, spool, window_bytes=1 << 18, patience_seconds=0.3)
        own_broker.pause()
        made: list[bytes] = []
        for number in range(400):
            batch = host.batch(*(f"{number}-{index}-{os.urandom(8).hex()}" for index in range(100)))
            made.append(encode_batch(batch))
            publisher.publish(batch)
            publisher.poll()
        own_broker.resume()
        drain(publisher)
        assert publisher.close(5) == 0
    got = list(dict.fromkeys(events_of(connection, 1)))
    indexes = [made.index(each) for each in got]
    assert indexes == sorted(indexes)
    lost = publisher.losses
    assert set(lost) <= {FULL, FAILED}, notes
    assert lost[FULL] > 0
    assert len(got) * 500 + sum(lost.values()) == len(made) * 500
