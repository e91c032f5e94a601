"""Measure the cost of host signatures: signing a batch, verifying it, and a processor with and without.

    python -m bench.signatures events.avro RULES...       microseconds per batch, and the share of a processor's work
    python -m bench.signatures fleet events.avro RULES... one processor with a broker, with and without, alternating

It takes the same recording as bench.fleet, and measures processor time: the lowest of several rounds for each part, and
the median for the ratio.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import cycle, islice
from pathlib import Path

from bench.fleet import fleet, fresh, stage
from bench.noise.count import compiled_rules
from bench.running import acknowledged
from bus.connection import Connection
from bus.messages import SENT, Headers, partition_of
from bus.topics import EVENTS
from collector.publishing.identity import HostIdentity, SigningKey
from processor.fleet.message_stage import MessageStage
from processor.hosts.identity import EventsMessage, IdentityGate, KnownHosts, VerifiedMessage
from schemas.batch import EventBatch
from schemas.encoding.batch import encode_batch
from schemas.encoding.recording import read_recording
from tests.cluster.actions import Generator

ROUNDS = 15
BATCHES = 200
SENT_BATCHES = 2_000
TURNS = 5
PARTITIONS = 8
_TOPIC = "lanner.events"
_APPENDED = time.time_ns() // 1_000_000


def main(recording: str, rules: Sequence[str]) -> None:
    """Print a line for each part, and the ratio."""
    batches = _batches(recording)
    encoded = [encode_batch(batch) for batch in batches]
    who = _identity(batches[0].host_id)
    messages = [_message(who, value) for value in encoded]
    forged = [_message(_identity(who.host_id, 2), value) for value in encoded]
    gate = _gate()
    _accept(gate, messages[0])
    detect = MessageStage(compiled_rules(rules), clock=time.monotonic)
    print(f"{len(batches)} batches of {sum(map(len, encoded)) // len(encoded):,} bytes")
    _report("signing", lambda value: who.signature(_TOPIC, who.host_id.encode(), {SENT: b"7"}, value), encoded)
    _report("checking", gate.check, messages)
    _report("refusing another key", gate.check, forged)
    _report("the detect stage", lambda value: detect.take(0, value, _APPENDED), encoded)

    def with_check(message: EventsMessage) -> None:
        accepted = _accept(gate, message)
        detect.take(0, message.value, _APPENDED, 0, lambda host_id: gate.agree(accepted, host_id))

    ratios = []
    for _ in range(ROUNDS):
        without = _seconds(lambda message: detect.take(0, message.value, _APPENDED), messages)
        ratios.append(_seconds(with_check, messages) / without)
    print(f"with checking, in turn: {statistics.median(ratios):.3f} (from {min(ratios):.3f} to {max(ratios):.3f})")


def through_kafka(recording: str, rules: Sequence[str]) -> None:
    """Print the processor time per batch of one processor, with and without, and the ratio."""
    batches = _batches(recording)
    found: dict[str, list[float]] = {"off": [], "trust_on_first_use": []}
    with tempfile.TemporaryDirectory() as name, fleet(Path(name)) as connection:
        for turn in range(TURNS):
            for mode, seconds in found.items():
                named = fresh(connection, f"t{turn}{mode[:2]}.")
                seconds.append(_processor_seconds(named, Path(name), batches, rules, mode))
        without, with_check = found.values()
        ratios = [b / a for a, b in zip(without, with_check, strict=True)]
        print(
            f"a batch, off: {1e6 * statistics.median(without):.0f} µs; on: {1e6 * statistics.median(with_check):.0f}; "
            f"{statistics.median(ratios):.3f} (from {min(ratios):.3f} to {max(ratios):.3f})"
        )


def _processor_seconds(
    connection: Connection, folder: Path, batches: Sequence[EventBatch], rules: Sequence[str], mode: str
) -> float:
    """Return the processor time that one processor uses per batch."""
    hosts = [_identity(f"host-{number}", number + 1) for number in range(16)]
    generator = Generator(connection, hosts=0)
    encoded = []
    for who, batch in islice(zip(cycle(hosts), cycle(batches)), SENT_BATCHES):
        batch.host_id = who.host_id
        encoded.append((who, encode_batch(batch)))
    with stage(connection, folder, "processor", *rules, options=(f"collector.identity={mode}",)) as running:
        time.sleep(3)
        begun = running.cpu_seconds()
        for number, (who, value) in enumerate(encoded):
            key, headers_by_name = who.host_id.encode(), {SENT: str(time.time_ns()).encode()}
            headers: Headers = [
                *headers_by_name.items(),
                *who.signature(connection.topic(EVENTS), key, headers_by_name, value),
            ]
            generator.send(value, who.host_id, headers)
            if number % 200 == 0:
                generator.flush()
        generator.flush()
        while acknowledged(connection, PARTITIONS) < len(encoded):
            time.sleep(0.2)
        return (running.cpu_seconds() - begun) / len(encoded)


def _batches(recording: str) -> list[EventBatch]:
    return [batch for batch in read_recording(Path(recording)) if batch.count == 500][:BATCHES]


def _identity(host_id: str, number: int = 1) -> HostIdentity:
    return HostIdentity(host_id, host_id, "0.1.0", SigningKey(bytes([number]) * 32))


def _message(who: HostIdentity, value: bytes) -> EventsMessage:
    key, headers_by_name = who.host_id.encode(), {SENT: b"7"}
    headers = [*headers_by_name.items(), *who.signature(_TOPIC, key, headers_by_name, value)]
    return EventsMessage(partition_of(key, PARTITIONS), key, headers, value, _APPENDED * 1_000_000)


def _gate() -> IdentityGate:
    return IdentityGate("trust_on_first_use", _TOPIC, PARTITIONS, KnownHosts(), clock=time.monotonic)


def _accept(gate: IdentityGate, message: EventsMessage) -> VerifiedMessage:
    accepted = gate.check(message)
    assert isinstance(accepted, VerifiedMessage), accepted
    if accepted.pin is not None:
        gate.known.claim(accepted.pin)
    return accepted


def _report(name: str, work: Callable[..., object], given: Sequence[object]) -> None:
    best = min(_seconds(work, given) for _ in range(ROUNDS))
    print(f"{name}: {1e6 * best / len(given):.0f}", flush=True)


def _seconds(work: Callable[..., object], given: Sequence[object]) -> float:
    began = time.thread_time()
    for each in given:
        work(each)
    return time.thread_time() - began


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["fleet", recording, *rules] if rules:
            through_kafka(recording, rules)
        case [recording, *rules] if rules:
            main(recording, rules)
        case _:
            sys.exit(__doc__)
