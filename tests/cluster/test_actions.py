import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from bus.actions import signature_of, verified
from bus.clients.compacted import messages_of
from bus.connection import Connection
from bus.topics import ACTION_INTENTS
from lanner.actions.topics import TopicActionRecords
from schemas.action import ActionDecision, ActionIntent
from tests.cluster.actions import RULES, Alerts, Generator, rules_file
from tests.cluster.dying_processor import PROGRAM
from tests.cluster.processes import Processes, Running

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
    """Write a private key and return it."""
    key = Ed25519PrivateKey.generate()
    path = folder / name
    path.touch(0o600)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
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


@pytest.mark.parametrize("point", ["alerts sent:6", "state written:6"])
def test_a_budget_is_spent_exactly_although_its_owner_dies(
    connection: Connection, processes: Processes, tmp_path: Path, point: str
) -> None:
    """It is killed under load, and another takes over: no more is done than allowed, until a person resets the fuse."""
    key = written_key(tmp_path, "processor.pem")
    person = written_key(tmp_path, "ann.pem")
    public = tmp_path / "ann.pub"
    public.write_bytes(person.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    rules = rules_file(tmp_path, RULES + POLICY)
    settings = {
        "LANNER__ACTIONS__KEY_FILE": str(tmp_path / "processor.pem"),
        "LANNER__ACTIONS__PEOPLE_KEY_FILES": f"[{public}]",
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
