"""Hosts that sign their batches, and a hostile one, on a real broker."""

import time
from collections import Counter
from pathlib import Path

from bus.clients.readers import TopicReader
from bus.connection import Connection
from bus.messages import SENT, Headers
from bus.topics import HOSTS, PROCESSOR_DEAD_LETTERS
from collector.publishing.identity import HostIdentity, host_key
from collector.publishing.publisher import Publisher
from collector.publishing.spool import Spool
from processor.hosts.identity import NOT_VERIFIED
from schemas.batch import EventBatch
from schemas.encoding.batch import encode_batch
from tests.cluster.actions import Alerts, Generator, Host
from tests.cluster.processes import Processes, Running
from tests.notes import into


class SigningHost(Host):
    """A host with its own key, using the real publisher."""

    def __init__(self, connection: Connection, name: str, folder: Path) -> None:
        super().__init__(name)
        self.connection = connection
        self.folder = folder / name
        self.actions: list[str] = []
        self.notes: list[str] = []
        self.identity = self.read_identity()
        self._publisher: Publisher | None = None

    def read_identity(self) -> HostIdentity:
        """Return its identity, read from its directory."""
        return HostIdentity(self.name, self.name, "0.1.0", host_key(self.folder / "host.key"))

    @property
    def key(self) -> str:
        """Return its public key in hex."""
        return self.identity.key.public_key.hex()

    @property
    def publisher(self) -> Publisher:
        """Return its publisher; start it if necessary."""
        if self._publisher is None:
            spool = Spool(self.folder / "spool", 8 << 20)
            self._publisher = Publisher(
                self.connection, self.name, spool, identity=self.identity, on_note=into(self.notes)
            )
        return self._publisher

    def act(self, count: int = 1) -> None:
        """Generate actions, one per batch."""
        for _ in range(count):
            mark = f"{self.name}-{len(self.actions) + 1}"
            self.publisher.publish(self.batch(mark))
            self.actions.append(mark)
            self.publisher.poll()

    def stop(self, timeout: float = 20) -> int:
        """Stop its collector; return the number of batches in the spool."""
        until = time.monotonic() + timeout
        while self.publisher.has_waiting and time.monotonic() < until:
            self.publisher.poll(0.05)
        left = self.publisher.close(1)
        self._publisher = None
        return left

    def restart(self) -> None:
        """Restart its collector with the key on disk."""
        self.identity = self.read_identity()
        self.start, self.sequence = self.start + 1, 0

    def reinstall(self) -> None:
        """Delete everything on its disk."""
        (self.folder / "host.key").unlink()
        self.restart()


class HostileHost:
    """An attacker with a collector's rights at the broker and its own key."""

    def __init__(self, connection: Connection, folder: Path) -> None:
        self.name = "evil-1"
        self.identity = HostIdentity(self.name, self.name, "0.1.0", host_key(folder / "evil.key"))
        self._generator = Generator(connection, hosts=0)
        self._topic = connection.topic("events")

    def send(self, batch: EventBatch, under: str, *, signed_as: str | None = "", topic: str | None = None) -> None:
        """Send a batch with an arbitrary host id.

        Args:
            batch: says itself of which host it is.
            under: the message's key.
            signed_as: the id that the signature is for; the message's key, if empty; None for no signature.
            topic: that the signature is for.
        """
        value, by_name = encode_batch(batch), {SENT: str(time.time_ns()).encode()}
        headers: Headers = [*by_name.items()]
        if signed_as is not None:
            name = (signed_as or under).encode()
            headers += self.identity.signature(topic or self._topic, name, by_name, value)
        self._generator.send(value, under, headers)

    def repeat(self, value: bytes, under: str, headers: Headers) -> None:
        """Replay another host's message."""
        self._generator.send(value, under, headers)

    def announce(self, host_id: str) -> None:
        """Announce its own key with another host's id."""
        key, value, headers = HostIdentity(host_id, host_id, "0.1.0", self.identity.key).announcement()
        self._generator.send(value, key.decode(), headers, topic=HOSTS)

    def delete_announcement(self, identity: HostIdentity) -> None:
        """Delete a host's announcement."""
        key, _, _ = identity.announcement()
        self._generator.send(None, key.decode(), topic=HOSTS)

    def flush(self) -> None:
        """Wait until the broker has all messages."""
        self._generator.flush()


def start(connection: Connection, processes: Processes, rules: Path, mode: str = "", *options: str) -> Running:
    """Start a processor and wait until it has partitions."""
    settings = ("-o", f"collector.identity={mode}") if mode else ()
    processor = processes.start(connection, "processor", *settings, *options, rules=rules)
    processor.wait_for("evaluating rules:")
    return processor


def decide(connection: Connection, processes: Processes, *arguments: str) -> Running:
    """Run `lanner hosts ...` and wait for its end."""
    run = processes.start(connection, "hosts", *arguments)
    run.result()
    return run


def dead_letters(connection: Connection) -> Counter[str]:
    """Return the reasons of all dead letters, without the keys that they name."""
    reader = TopicReader(connection, connection.topic(PROCESSOR_DEAD_LETTERS), whole=True)
    found: Counter[str] = Counter()
    until = time.monotonic() + 20
    while not reader.has_read_all and time.monotonic() < until:
        message = reader.poll(0.2)
        # Without a value it is the mark of one that was replayed.
        if message is not None and message.value() is not None:
            reason = dict(message.headers() or [])["reason"]
            assert isinstance(reason, bytes)
            found[" ".join(word for word in reason.decode().split() if len(word) < 16)] += 1
    reader.close()
    return found


def wait_for_dead_letters(connection: Connection, count: int, timeout: float = 30) -> Counter[str]:
    """Wait for so many dead letters."""
    until = time.monotonic() + timeout
    while (found := dead_letters(connection)).total() < count:
        assert time.monotonic() < until, found
        time.sleep(0.3)
    return found


def reported(alerts: Alerts) -> dict[str, list[str]]:
    """Return the internal alerts about rejected batches, by the host id that they carried."""
    found: dict[str, list[str]] = {}
    for alert in alerts.raw:
        if alert.rule == NOT_VERIFIED:
            found.setdefault(alert.host_id, []).append(alert.output)
    return found
