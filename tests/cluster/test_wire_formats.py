"""Messages of other releases, and a schema registry, with real stages."""

import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

from bus.clients.readers import TopicReader
from bus.clients.schema_registry import Registry, RegistryUnavailable, schema_message
from bus.connection import Connection, RegistryAddress
from bus.topics import ALERTS, EVENTS, PROCESSOR_DEAD_LETTERS, SCHEMAS
from collector.publishing.publisher import Publisher
from collector.publishing.spool import Spool
from schemas.alert import encode_alert
from schemas.encoding.batch import EVENT_BATCH_FORMAT, EVENT_BATCH_SCHEMA, encode_batch
from schemas.encoding.wire import MARKER, MessageFormat, checked_schema
from tests.cluster.actions import RULE, Alerts, Generator, Host, rules_file
from tests.cluster.processes import Processes
from tests.cluster.registry import Guard, SchemaRegistry
from tests.golden.batches import GOLDEN, golden_path
from tests.notes import into
from tests.unit.alerts import alert

MORE = MessageFormat(
    {
        **EVENT_BATCH_SCHEMA,
        "fields": [{"name": "colour", "type": ["null", "string"], "default": None}, *EVENT_BATCH_SCHEMA["fields"]],
    }
)
LESS = MessageFormat(
    {
        **EVENT_BATCH_SCHEMA,
        "fields": [each for each in EVENT_BATCH_SCHEMA["fields"] if each["name"] != "interest_version"],
    }
)
UNKNOWN = MessageFormat({**EVENT_BATCH_SCHEMA, "fields": EVENT_BATCH_SCHEMA["fields"][::-1]})


def messages(
    connection: Connection, topic: str, count: int, seconds: float = 30
) -> list[tuple[bytes, dict[str, bytes]]]:
    """Return values and headers of a topic from its start, at least so many."""
    reader = TopicReader(connection, connection.topic(topic), whole=True)
    found: list[tuple[bytes, dict[str, bytes]]] = []
    deadline = time.monotonic() + seconds
    while len(found) < count and time.monotonic() < deadline:
        message = reader.poll(0.2)
        if message is not None:
            found.append((message.value() or b"", dict(message.headers() or [])))  # type: ignore[arg-type]
    reader.close()
    assert len(found) >= count
    return found


def test_collectors_of_other_releases_are_understood(
    connection: Connection, processes: Processes, tmp_path: Path
) -> None:
    """Schemas with other fields are found in the topic of schemas, even late; unknown ones are reported."""
    processor = processes.start(connection, "processor", rules=rules_file(tmp_path))
    processor.wait_for("evaluating rules:")
    generator = Generator(connection, hosts=3)

    def act(kind: MessageFormat, host: Host) -> None:
        datum = EVENT_BATCH_FORMAT.decode(encode_batch(host.batch(f"{host.name}-1")))
        generator.send(kind.encode({**datum, "colour": "red"}), host.name)
        generator.flush()

    def announce(kind: MessageFormat) -> None:
        key, value = schema_message(kind.schema)
        generator.send(value, key.decode(), topic=SCHEMAS)
        generator.flush()

    announce(MORE)
    act(MORE, generator.hosts[0])
    act(LESS, generator.hosts[1])
    time.sleep(0.7)
    announce(LESS)
    act(UNKNOWN, generator.hosts[2])
    alerts = Alerts(connection)
    alerts.wait_for(2, 30)
    assert set(alerts.marks()) == {"host-0-1", "host-1-1"}
    alerts.close()
    ((_, headers),) = messages(connection, PROCESSOR_DEAD_LETTERS, 1)
    fingerprint = UNKNOWN.header[2:].hex()
    assert headers["reason"].decode() == f"not decodable: unknown schema: fingerprint {fingerprint}"
    assert processor.stop() == 0, processor.errors


SHADOW = f"""
- rule: {RULE}
  desc: What every golden batch holds.
  condition: evt.type = openat and fd.name = /run/link and proc.exepath = /usr/bin/cat
  output: read %fd.name (%proc.cmdline)
  priority: NOTICE
"""


def test_a_hostile_schema_ends_with_the_dead_letters(
    connection: Connection, processes: Processes, tmp_path: Path
) -> None:
    """Harmful schemas are reported as dead letters, and other messages are processed."""
    bomb = {**EVENT_BATCH_SCHEMA, "fields": [{"name": "host_id", "type": {"type": "array", "items": "null"}}]}
    union = ["int", {**EVENT_BATCH_SCHEMA, "doc": "in a union"}]
    other = {**EVENT_BATCH_SCHEMA, "fields": [{"name": "host_id", "type": "long"}]}
    processor = processes.start(connection, "processor", rules=rules_file(tmp_path))
    processor.wait_for("evaluating rules:")
    generator = Generator(connection, hosts=1)
    for number, schema in enumerate((bomb, union, other)):
        key, value = schema_message(schema)
        generator.send(value, key.decode(), topic=SCHEMAS)
        generator.flush()
        generator.send(MARKER + bytes.fromhex(key.decode()) + b"\xfe\xff\xff\xff\x0f\0", f"host-{number}")
    generator.act(1)
    generator.flush()
    alerts = Alerts(connection)
    alerts.wait_for(1, 30)
    alerts.close()
    reasons = {headers["reason"].decode() for _, headers in messages(connection, PROCESSOR_DEAD_LETTERS, 3)}
    assert reasons == {
        "not decodable: its schema was rejected: null outside of a union",
        "not decodable: its schema was rejected: not a record schema",
        "not decodable: not decodable: Schema mismatch: long is not string",
    }
    assert processor.stop() == 0, processor.errors
    assert "Traceback" not in processor.errors


def test_batches_of_every_release_are_evaluated(connection: Connection, processes: Processes, tmp_path: Path) -> None:
    """A processor reads batches of all releases without looking up their schemas."""
    processor = processes.start(connection, "processor", rules=rules_file(tmp_path, SHADOW))
    processor.wait_for("evaluating rules:")
    generator = Generator(connection, hosts=0)
    for release in GOLDEN:
        generator.send(golden_path(release).read_bytes(), f"host-{release}")
    generator.flush()
    alerts = Alerts(connection)
    deadline = time.monotonic() + 30
    while len([each for each in alerts.raw if each.rule == RULE]) < len(GOLDEN) and time.monotonic() < deadline:
        alerts.read(0.5)
    reported = [each for each in alerts.raw if each.rule == RULE]
    assert len(reported) == len(GOLDEN)
    assert all(each.output.startswith("read /run/link (cat /etc/shadow ) container_id=") for each in reported)
    assert processor.stop() == 0, processor.errors
    alerts.close()


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[SchemaRegistry]:
    """Provide a registry that is not started yet."""
    made = SchemaRegistry(tmp_path)
    yield made
    made.stop()


def test_a_fleet_with_a_schema_registry(
    connection: Connection, processes: Processes, registry: SchemaRegistry, tmp_path: Path
) -> None:
    """All stages use Confluent's wire format; while the registry is unavailable they wait, and nothing is lost."""
    notes: list[str] = []
    with_registry = replace(connection, registry=RegistryAddress(registry.url))
    registry_settings = {"LANNER__KAFKA__SCHEMA_REGISTRY_URL": registry.url}
    rules = rules_file(tmp_path)

    # The registry is unavailable: a processor exits with an error, a collector spools its batches.
    processor = processes.start(connection, "processor", rules=rules, environment=registry_settings)
    host = Host("host-1")
    publisher = Publisher(with_registry, host.name, Spool(tmp_path / "collected", 1 << 20), on_note=into(notes))
    for number in range(3):
        publisher.publish(host.batch(f"mark-{number}"))
        publisher.poll()
    assert processor.result() == 3
    assert f"no answer from the schema registry at {registry.url}" in processor.errors
    assert "Traceback" not in processor.errors
    assert publisher.has_waiting
    assert any("schema registry" in note for note in notes)

    registry.begin()
    registry.wait()
    deadline = time.monotonic() + 30
    while publisher.has_waiting and time.monotonic() < deadline:
        publisher.poll(0.05)
    assert publisher.close(5) == 0
    assert not publisher.losses
    processor = processes.start(connection, "processor", rules=rules, environment=registry_settings)
    processor.wait_for("evaluating rules:")
    for value, _ in messages(connection, EVENTS, 3):
        assert value[:1] == b"\0"
    reported = [value for value, _ in messages(connection, ALERTS, 3)]

    # Confluent's own deserializer reads them, with nothing of ours.
    client = SchemaRegistryClient({"url": registry.url})
    deserialize = AvroDeserializer(client)
    context = SerializationContext(connection.topic(ALERTS), MessageField.VALUE)
    assert {deserialize(value, context)["rule"] for value in reported} == {RULE}  # type: ignore[index, union-attr]
    assert f"{connection.topic(EVENTS)}-value" in client.get_subjects()

    # A reader that has not seen the schema yet waits for the registry, and goes on when it is back.
    registry.pause()
    line = tmp_path / "alerts"
    settings = ["-o", f"notifier.state_dir={tmp_path / 'state'}", "-o", "json_output=true"]
    settings += ["-o", "file_output.enabled=true", "-o", f"file_output.filename={line}"]
    notifier = processes.start(connection, "notifier", "file", *settings, environment=registry_settings)
    notifier.wait_for("no answer from the schema registry")
    registry.resume()
    deadline = time.monotonic() + 30
    while (not line.exists() or line.read_text().count("\n") < 3) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert {json.loads(each)["rule"] for each in line.read_text().splitlines()} == {RULE}
    _both_formats_may_lie_on_one_topic(connection, line)
    assert notifier.stop() == 0
    assert processor.stop() == 0


def test_a_registry_that_requires_a_password(registry: SchemaRegistry, tmp_path: Path) -> None:
    """With TLS and basic authentication, errors name the setting and no secret."""
    script = Path(__file__).parents[2] / "deploy" / "kafka" / "certificates.sh"
    for arguments in (("authority", tmp_path), ("broker", tmp_path, "guard", "127.0.0.1")):
        subprocess.run([script, *map(str, arguments)], check=True, capture_output=True)
    registry.begin()
    registry.wait()
    guard = Guard(registry.port, tmp_path / "guard.pem", "lanner", "made:up")
    try:
        address = RegistryAddress(guard.url, "lanner", "made:up", str(tmp_path / "ca.crt"))
        header = Registry(address).register("t.events", EVENT_BATCH_SCHEMA)
        found = Registry(address).schema(int.from_bytes(header[1:], "big"))
        assert found is not None
        assert checked_schema(found).name == "lanner.EventBatch"
        assert Registry(address).schema(999_999) is None
        for wrong, setting in (
            (replace(address, password="hush"), "schema_registry_password_file"),
            (replace(address, ca_file=""), "schema_registry_url"),
        ):
            with pytest.raises(RegistryUnavailable) as reported:
                Registry(wrong).schema(1)
            assert setting in str(reported.value)
            assert "hush" not in str(reported.value) + repr(wrong)
        other = {"type": "record", "name": "Other", "fields": [{"name": "a", "type": "int"}]}
        SchemaRegistryClient({"url": registry.url}).set_compatibility("t.events-value", "BACKWARD")
        with pytest.raises(RegistryUnavailable, match="compatibility"):
            Registry(address).register("t.events", other)
    finally:
        guard.stop()


def _both_formats_may_lie_on_one_topic(connection: Connection, line: Path) -> None:
    """Messages from before and after the registry was enabled are both read."""
    generator = Generator(connection, hosts=0)
    generator.send(encode_alert(alert(id="plain", rule="Plain")), "plain", topic=ALERTS)
    generator.flush()
    deadline = time.monotonic() + 20
    while '"Plain"' not in line.read_text() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert '"Plain"' in line.read_text()
