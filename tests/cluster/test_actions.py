import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from bus.actions import signature_of, verified
from bus.clients.compacted import CompactedTopicWriter, messages_of
from bus.connection import Connection
from bus.messages import SIGNATURE
from bus.topics import ACTION_INTENTS
from collector.host import this_host
from lanner.actions.book import ActionBook, TrackedAction
from lanner.actions.topics import TopicActionRecords
from schemas.action import ActionDecision, ActionIntent
from tests.cluster.actions import RULES, Alerts, Generator, rules_file
from tests.cluster.broker import Broker
from tests.cluster.conftest import with_topics
from tests.cluster.dying_processor import PROGRAM
from tests.cluster.processes import Processes, Running
from tests.cluster.test_operations import wait
from tests.live.collector.actions.test_executor import frozen_soon, is_frozen

BUDGET = 30
POLICY = f"""
- action: Lock away
  type: quarantine
  target: file
  state: do
  rules: [Marked action]
  budget: {{per_hour: {BUDGET}, hosts: 100%}}
"""


def written_key(folder: Path, name: str) -> Ed25519PrivateKey:
    """Write a private key and its public key, and return it."""
    key = Ed25519PrivateKey.generate()
    path = folder / name
    path.touch(0o600)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    path.with_suffix(".pub").write_bytes(public)
    return key


def intents(connection: Connection, key: Ed25519PrivateKey) -> list[ActionIntent]:
    """Return the intents, each of which must be signed, in their order; one that was sent again comes again."""
    messages = [message for _, message in messages_of(connection, [ACTION_INTENTS])]
    keys = [key.public_key()]
    return [verified(each.value() or b"", signature_of(each), ActionIntent, keys).record for each in messages]


def settle(connection: Connection, key: Ed25519PrivateKey, is_settled: Callable[[list[ActionIntent]], bool]) -> None:
    """Wait until the intents are as they should be."""
    deadline = time.monotonic() + 30
    while not is_settled(found := intents(connection, key)):
        assert time.monotonic() < deadline, found
        time.sleep(0.2)


def newest_intent(connection: Connection, id_: str) -> tuple[bytes, bytes]:
    """Return value and signature of an intent."""
    found = [message for _, message in messages_of(connection, [ACTION_INTENTS]) if message.key() == id_.encode()]
    return found[-1].value() or b"", signature_of(found[-1])


@pytest.mark.parametrize("point", ["alerts sent:6", "state written:6"])
def test_a_budget_is_spent_exactly_although_its_owner_dies(
    connection: Connection, processes: Processes, tmp_path: Path, point: str
) -> None:
    """It is killed under load, and another takes over: no more is done than allowed, until a person resets the fuse."""
    key = written_key(tmp_path, "processor.pem")
    person = written_key(tmp_path, "ann.pem")
    rules = rules_file(tmp_path, RULES + POLICY)
    settings = {
        "LANNER__ACTIONS__KEY_FILE": str(tmp_path / "processor.pem"),
        "LANNER__ACTIONS__PEOPLE_KEY_FILES": f"[{tmp_path}/ann.pub]",
    }

    def started(*program: str) -> Running:
        worker = processes.start(connection, "processor", rules=rules, program=program, environment=settings)
        worker.wait_for("evaluating rules:")
        return worker

    owner = started(PROGRAM, point)
    generator = Generator(connection, hosts=1)
    deadline = time.monotonic() + 30
    while owner.is_alive and time.monotonic() < deadline:
        generator.act(1)
        time.sleep(0.1)
    assert not owner.is_alive, "it never came to that point"
    other = started()
    generator.act(BUDGET)
    generator.flush()
    alerts = Alerts(connection)
    alerts.wait_for(len(generator.actions), 60)
    settle(connection, key, lambda found: any(each.refusal for each in found))

    found = {each.id: each for each in intents(connection, key)}
    assert sum(not each.refusal for each in found.values()) == BUDGET
    (refused,) = (each for each in found.values() if each.refusal)
    assert refused.refusal.startswith(f"the fuse has blown: {BUDGET} in an hour")
    alerts.read(1)
    assert {each.rule for each in alerts.raw} == {"Marked action", "Lanner internal: actions stopped"}

    # Somebody else's reset changes nothing; a person's does.
    for stranger, signer in ((True, Ed25519PrivateKey.generate()), (False, person)):
        TopicActionRecords(connection, signer).write(ActionDecision(f"r{stranger}", "reset", "Lock away", "ann", 1))
        if stranger:
            other.wait_for("none of the accepted keys signed it")
    time.sleep(1)
    generator.act(1)
    generator.flush()
    settle(connection, key, lambda all_: sum(not each.refusal for each in {e.id: e for e in all_}.values()) > BUDGET)
    assert other.stop() == 0, other.errors
    assert "Traceback" not in other.errors
    alerts.close()


LIVE = """
- rule: Marked program
  desc: An action of the test.
  condition: evt.type = execve and proc.name startswith lanner-mark
  output: started %proc.name
  priority: NOTICE
- action: End it
  type: kill
  target: process
  state: STATE
  rules: [Marked program]
"""


def settings_of_host(folder: Path, types: str) -> dict[str, str]:
    """Return settings for the executor and the collector of a host that accepts the keys processor and ann."""
    section = {
        "ENABLED": f"[{types}]",
        "SOCKET": f"{folder}/run/socket",
        "STATE_DIR": f"{folder}/state",
        "PROCESSOR_KEY_FILES": f"[{folder}/processor.pub]",
        "PEOPLE_KEY_FILES": f"[{folder}/ann.pub]",
    }
    return {f"LANNER__COLLECTOR__ACTIONS__{name}": value for name, value in section.items()}


@pytest.mark.live
def test_a_process_is_killed_through_the_fleet(connection: Connection, processes: Processes, tmp_path: Path) -> None:
    """What is forged, replayed or meant for another host changes nothing; a person's approval is waited for."""
    keys = {name: written_key(tmp_path, f"{name}.pem") for name in ("processor", "ann", "mallory")}
    for name, key in keys.items():
        (tmp_path / f"{name}.pub").write_bytes(
            key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        )
    rules, program = tmp_path / "rules.yaml", tmp_path / "lanner-mark"
    rules.write_text(LIVE.replace("STATE", "ask"))
    shutil.copy("/usr/bin/sleep", program)
    settings = settings_of_host(tmp_path, "kill") | {"LANNER__ACTIONS__KEY_FILE": f"{tmp_path}/processor.pem"}
    executor = processes.start(connection, "actions", "serve", environment=settings)
    collector = processes.start(connection, "collector", rules=rules, environment=settings)
    processor = processes.start(connection, "processor", rules=rules, environment=settings)
    executor.wait_for("Stop: Ctrl-C")
    processor.wait_for("evaluating rules:")
    collector.wait_for("Stop: Ctrl-C")
    book, records = ActionBook(), TopicActionRecords(connection, keys["ann"])

    def until(*statuses: str) -> TrackedAction:
        deadline = time.monotonic() + 30
        while True:
            records.update(book)
            found = [each for each in book.actions if each.status(time.time_ns()) in statuses]
            if found:
                return found[0]
            assert time.monotonic() < deadline, (book.actions, executor.errors, collector.errors)

    with subprocess.Popen([program, "60"]) as victim:
        asked = until("waiting", "received")
        assert asked.intent.pid == victim.pid
        # Mallory may write to the topics, but her keys are nobody's.
        forger = TopicActionRecords(connection, keys["mallory"])
        forger.write(ActionDecision("f", "approve", asked.intent.id, "ann", time.time_ns()))
        forger.write(replace(asked.intent, id="forged", state="do", approvals=0))
        collector.wait_for("none of the accepted keys signed it")
        # The processor's key may not decide for people.
        TopicActionRecords(connection, keys["processor"]).write(
            ActionDecision("g", "approve", asked.intent.id, "ann", time.time_ns())
        )
        other = replace(asked.intent, id="other", state="do", approvals=0, host_id="another")
        TopicActionRecords(connection, keys["processor"]).write(other)
        time.sleep(1)
        assert victim.poll() is None
        records.write(ActionDecision("d", "approve", asked.intent.id, "ann", time.time_ns()))
        assert victim.wait(20) == -signal.SIGKILL
    done = until("done")
    assert done.last is not None
    assert done.last.text == "killed 1 process"
    # Delivered again, it is done already.
    value, signature = newest_intent(connection, asked.intent.id)
    CompactedTopicWriter(connection).put(ACTION_INTENTS, b"again", value, [(SIGNATURE, signature)])
    alerts = Alerts(connection)
    alerts.read(2)
    alerts.close()
    about = [alert.output for alert in alerts.raw if alert.source == "internal"]
    assert about == [f"kill process {victim.pid} (lanner-mark): done | killed 1 process"]
    assert (collector.stop(), processor.stop(), executor.stop()) == (0, 0, 0)
    assert "Traceback" not in collector.errors + processor.errors + executor.errors


@pytest.mark.live
def test_a_lease_ends_although_broker_and_executor_are_gone(
    own_broker: Broker, processes: Processes, tmp_path: Path
) -> None:
    """The container is thawed on time, and once both are back, the fleet learns that."""
    connection = with_topics(own_broker, 1)
    key = written_key(tmp_path, "processor.pem")
    written_key(tmp_path, "ann.pem")
    settings = settings_of_host(tmp_path, "freeze")
    rules = rules_file(tmp_path)
    executor = processes.start(connection, "actions", "serve", environment=settings)
    collector = processes.start(connection, "collector", rules=rules, environment=settings)
    executor.wait_for("Stop: Ctrl-C")
    collector.wait_for("Stop: Ctrl-C")
    records = TopicActionRecords(connection, key)
    host = this_host("", "")
    with frozen_soon(secrets.token_hex(32)) as (container, folder):
        intent = ActionIntent("i", "freeze", "container", host.id, host.name, "do", "container web", 1, "Freeze")
        records.write(replace(intent, container_id=container.id, lease=6_000_000_000))
        wait(lambda: is_frozen(folder), 20)
        own_broker.stop()
        executor.kill()
        assert is_frozen(folder)
        wait(lambda: not is_frozen(folder), 15)
    own_broker.start()
    again = processes.start(connection, "actions", "serve", environment=settings)
    book = ActionBook()

    def has_ended() -> bool:
        records.update(book)
        return [each.status(time.time_ns()) for each in book.actions] == ["ended"]

    wait(has_ended, 60)
    assert (collector.stop(), again.stop()) == (0, 0)
