"""Estimate how many bytes a host sends in a day, from the size of the topic of events after quiet and busy minutes.

It starts a broker and `lanner collector` with the shipped rules and default settings. A round of work is a developer's:
git, make and gcc, pip, and looking around. Each busy minute contains one round.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.running import running_broker, started, topics_on
from bus.clients.readers import TopicReader
from bus.connection import Connection
from bus.topics import EVENTS
from schemas.encoding.batch import decode_batch
from tests.cluster.broker import Broker
from tests.live.ordinary_work import use_git, use_make_and_gcc, use_pip, use_tools

QUIET_SECONDS = 120
ROUNDS = 4
ROUND_SECONDS = 60
DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Sent:
    """The contents of the topic so far."""

    stored: int
    """Bytes on the broker's disk: compressed, with keys and headers."""
    events: int
    batches: int
    encoded: int
    """Bytes of the batches before compression."""

    def since(self, before: "Sent") -> "Sent":
        """Return what was added since an earlier state."""
        return Sent(
            self.stored - before.stored,
            self.events - before.events,
            self.batches - before.batches,
            self.encoded - before.encoded,
        )


def main() -> None:
    """Print both results, scaled to a day."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with running_broker(folder / "kafka") as broker:
            connection = topics_on(broker, 1)
            with collector(connection, folder):
                before = _sent(broker, connection)
                time.sleep(QUIET_SECONDS)
                quiet = _sent(broker, connection)
                _report("quiet", quiet.since(before), QUIET_SECONDS)
                begun = time.monotonic()
                for number in range(ROUNDS):
                    _work(folder / str(number))
                    time.sleep(max(0.0, begun + (number + 1) * ROUND_SECONDS - time.monotonic()))
                # Batches wait for at most a tenth of a second, and are then sent without a flush.
                time.sleep(1)
                _report("working", _sent(broker, connection).since(quiet), time.monotonic() - begun)


def _work(folder: Path) -> None:
    for use in (use_git, use_make_and_gcc, use_pip, use_tools):
        inside = folder / use.__name__
        inside.mkdir(parents=True)
        use(inside)


def _sent(broker: Broker, connection: Connection) -> Sent:
    stored = sum(path.stat().st_size for path in broker.folder.glob(f"data/{connection.topic(EVENTS)}-*/*.log"))
    reader = TopicReader(connection, connection.topic(EVENTS), whole=True)
    events = batches = encoded = 0
    while not reader.has_read_all:
        message = reader.poll(1)
        if message is not None:
            value = message.value() or b""
            batches, encoded, events = batches + 1, encoded + len(value), events + decode_batch(value).count
    reader.close()
    return Sent(stored, events, batches, encoded)


def _report(name: str, sent: Sent, seconds: float) -> None:
    a_day = DAY_SECONDS / seconds
    print(
        f"{name}, {seconds:.0f} s: {sent.events:,} events in {sent.batches:,} batches, {sent.encoded:,} bytes, "
        f"{sent.stored:,} stored: "
        f"{sent.events * a_day / 1e6:.2f} M events and {sent.stored * a_day / 1e6:.0f} MB a day",
        flush=True,
    )


@contextmanager
def collector(connection: Connection, folder: Path) -> Iterator[int]:
    """Run `lanner collector` with the shipped rules; yield its process id."""
    settings = {
        "LANNER__KAFKA__BOOTSTRAP_SERVERS": connection.bootstrap_servers,
        "LANNER__KAFKA__SPOOL_DIR": str(folder / "spool"),
    }
    command = [sys.executable, "-m", "lanner", "collector"]
    environment = os.environ | settings
    with started(command, folder / "messages", "watching", stdin=subprocess.DEVNULL, env=environment) as running:
        time.sleep(2)
        yield running.process.pid
    print(running.messages().splitlines()[-1])


if __name__ == "__main__":
    main()
