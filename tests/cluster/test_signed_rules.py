import subprocess
import time
from pathlib import Path
from typing import Any

from confluent_kafka.admin import AdminClient

from bus import signatures
from bus.administration import create_missing
from bus.clients.compacted import CompactedTopicWriter
from bus.connection import Connection, client_config
from bus.published_rules import CURRENT, SIGNATURE, current, rules_message
from bus.signatures import read_private_key
from bus.topics import DAY_MS, PUSHDOWN_FILTERS, RULES, plan
from processor.output.internal_alerts import RULE_FAILED
from schemas.published_rules import PublishedFile, PublishedRules
from tests.cluster.actions import Alerts, Generator, assert_exact, rules_file
from tests.cluster.conftest import PARTITIONS
from tests.cluster.processes import Processes
from tests.cluster.publishing import MARKED, OTHER, REFUSED, filter_of, named, publish, until


def test_what_is_broken_or_unsigned_is_refused(connection: Connection, processes: Processes, tmp_path: Path) -> None:
    """The active version stays, status and an alert give the reason, and a signed version is accepted later."""
    key, public = tmp_path / "rules.key", tmp_path / "rules.pub"
    make_keys(key, public)
    good = rules_file(tmp_path, MARKED)
    before = publish(processes, connection, good, "--sign-key", key)
    setting = {"LANNER__PUBLISHED_RULES__PUBLIC_KEY_FILES": f"[{public}]"}
    worker = processes.start(connection, "processor", environment=setting)
    worker.wait_for("evaluating rules:")
    assert "signed by" in worker.errors
    other = tmp_path / "other.yaml"
    other.write_text(MARKED + OTHER)
    publish(processes, connection, other)
    worker.wait_for("it is not signed")
    CompactedTopicWriter(connection).put(RULES, CURRENT, b"\xc3\x01nonsense", [])
    CompactedTopicWriter(connection).put(PUSHDOWN_FILTERS, before.encode(), b"{}", [])
    worker.wait_for("rules refused: it is not signed", 20)
    put_broken(connection, key)
    worker.wait_for("Undefined macro")
    newer = "20991231-235959-00000000"
    put_signed(connection, key, b"\xc3\x01 another format", newer)
    worker.wait_for(f"rules refused: version {newer}: it has a format that this release doesn't know")
    until(lambda: filter_of(connection, before) > 0, "the filter was not written again")
    status = processes.start(connection, "rules", "status", environment=setting)
    status.result()
    assert before in status.output
    assert "refused" in status.output
    publish(processes, connection, other, "--sign-key", key)
    worker.wait_for("is active, published by", 70)
    generator = Generator(connection, hosts=2)
    generator.act(3)
    generator.flush()
    alerts = Alerts(connection)
    alerts.wait_for(len(generator.actions), 30)
    assert_exact(generator.actions, alerts)
    assert len(named(alerts, REFUSED)) == 4
    assert len(named(alerts, "Lanner internal: interest unusable")) == 1
    assert worker.stop() == 0, worker.errors
    assert "Traceback" not in worker.errors
    alerts.close()


def test_signed_functions_in_python_are_run(connection: Connection, processes: Processes, tmp_path: Path) -> None:
    """Unsigned ones can't be published; a fault is reported by an alert, and other rules are evaluated."""
    key, public = tmp_path / "rules.key", tmp_path / "rules.pub"
    make_keys(key, public)
    code = tmp_path / "counted.py"
    code.write_text(
        "from lanner.detections import detect\n"
        "@detect(rule='Counted', desc='d', condition='evt.type = openat and fd.name startswith /marked/',\n"
        "        output='%fd.name', priority='Notice', fields=['fd.name'])\n"
        "def counted(event):\n"
        "    yield {'length': len(event.fd.name)}\n"
        "    __import__('os')._exit(9)\n"
    )
    good = rules_file(tmp_path, MARKED)
    publish(processes, connection, good, code, code=1)
    publish(processes, connection, good, code, "--sign-key", key)
    setting = {"LANNER__PUBLISHED_RULES__PUBLIC_KEY_FILES": f"[{public}]"}
    worker = processes.start(connection, "processor", environment=setting)
    worker.wait_for("evaluating rules:")
    generator = Generator(connection, hosts=2)
    generator.act(3)
    generator.flush()
    alerts = Alerts(connection)
    alerts.wait_for(len(generator.actions), 30)
    alerts.read(5)
    assert_exact(generator.actions, alerts)
    assert "status 9" in next(iter(named(alerts, RULE_FAILED).values())).output
    assert worker.stop() == 0, worker.errors
    alerts.close()


def test_an_old_version_that_is_put_back_is_refused_after_a_restart_too(
    connection: Connection, processes: Processes, tmp_path: Path
) -> None:
    """A replayed older version with a valid signature is ignored for the newer one that precedes it."""
    key, public = tmp_path / "rules.key", tmp_path / "rules.pub"
    make_keys(key, public)
    setting = {"LANNER__PUBLISHED_RULES__PUBLIC_KEY_FILES": f"[{public}]"}
    old = publish(processes, connection, rules_file(tmp_path, MARKED), "--sign-key", key)
    before = current(connection)
    assert before is not None
    other = tmp_path / "other.yaml"
    other.write_text(MARKED + OTHER)
    new = publish(processes, connection, other, "--sign-key", key)
    first = processes.start(connection, "processor", environment=setting)
    first.wait_for(f"of version {new}")
    assert first.stop() == 0
    headers: Any = before.headers()
    CompactedTopicWriter(connection).put(RULES, CURRENT, before.value(), headers)
    second = processes.start(connection, "processor", environment=setting)
    second.wait_for(f"of version {new}")
    assert f"rules refused: version {old} is older than {new}, which this processor already accepted" in second.errors
    assert second.stop() == 0, second.errors
    elsewhere = {"LANNER__PUBLISHED_RULES__STATE_DIR": str(tmp_path / "new-disk")}
    third = processes.start(connection, "processor", environment=setting | elsewhere)
    third.wait_for(f"of version {old}")
    assert third.stop() == 0, third.errors


def test_nobody_without_the_key_takes_the_rules_from_a_processor_that_starts(
    connection: Connection, processes: Processes, tmp_path: Path
) -> None:
    """What nobody signed hides no signed version, nor does deleting the topic, and its date holds up no publisher."""
    key, public = tmp_path / "rules.key", tmp_path / "rules.pub"
    make_keys(key, public)
    setting = {"LANNER__PUBLISHED_RULES__PUBLIC_KEY_FILES": f"[{public}]"}
    version = publish(processes, connection, rules_file(tmp_path, MARKED), "--sign-key", key)
    first = processes.start(connection, "processor", environment=setting)
    first.wait_for(f"of version {version}")
    assert first.stop() == 0, first.errors
    put = CompactedTopicWriter(connection).put
    forged = PublishedRules(files=(PublishedFile("x.yaml", OTHER.encode()),)).named(4_102_444_799_999_999_999)
    put(RULES, CURRENT, rules_message(forged, None)[0], [])
    put(RULES, CURRENT, None, [])
    second = processes.start(connection, "processor", environment=setting)
    second.wait_for(f"of version {version}")
    assert second.stop() == 0, second.errors
    delete_and_create(connection, RULES)
    third = processes.start(connection, "processor", environment=setting)
    third.wait_for(f"of version {version}")
    put(RULES, CURRENT, rules_message(forged, None)[0], [])
    third.wait_for("rules refused: it is not signed")
    other = tmp_path / "other.yaml"
    other.write_text(MARKED + OTHER)
    publish(processes, connection, other, "--sign-key", key)
    third.wait_for("is active, published by", 70)
    put_signed(connection, key, rules_message(forged, None)[0], forged.version)
    third.wait_for("is dated in the future")
    assert third.stop() == 0, third.errors


def delete_and_create(connection: Connection, topic: str) -> None:
    """Delete a topic and create it again."""
    client = AdminClient(client_config(connection, "stranger"))
    name = connection.topic(topic)
    client.delete_topics([name])[name].result(20)
    until(lambda: name not in client.list_topics(timeout=10).topics, "the topic was not deleted")
    create_missing(connection, [each for each in plan(connection.prefix, PARTITIONS, 1, DAY_MS) if each.name == name])


def make_keys(key: Path, public: Path) -> None:
    """Create a key pair as documented."""
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", key], check=True)
    subprocess.run(["openssl", "pkey", "-in", key, "-pubout", "-out", public], check=True)
    key.chmod(0o600)


def put_broken(connection: Connection, key: Path) -> None:
    """Publish invalid rules with a valid signature."""
    text = b"- rule: X\n  desc: x\n  condition: nosuchmacro\n  output: x\n  priority: NOTICE\n"
    rules = PublishedRules(files=(PublishedFile("x.yaml", text),)).named(time.time_ns())
    value, headers = rules_message(rules, read_private_key(key))
    CompactedTopicWriter(connection).put(RULES, CURRENT, value, headers)


def put_signed(connection: Connection, key: Path, value: bytes, version: str) -> None:
    """Publish arbitrary bytes with a valid signature, as a version of that name."""
    signature = signatures.sign(read_private_key(key), signatures.RULES_DOMAIN, value)
    CompactedTopicWriter(connection).put(RULES, CURRENT, value, [("ce_id", version.encode()), (SIGNATURE, signature)])
