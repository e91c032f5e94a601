import asyncio
from dataclasses import replace
from typing import cast

import pytest
from confluent_kafka import Producer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bus.actions import PeopleKeys, SignedRecord, action_message
from bus.connection import Connection
from bus.topics import ACTION_DECISIONS, ACTION_INTENTS, ACTION_RESULTS
from collector.kubernetes.acting import ClusterActions
from collector.kubernetes.api import ApiServer
from foundation.text import ignore_note
from lanner.actions.cluster import ClusterActionService, ClusterExecutor, ClusterKeys, ClusterRights
from schemas.action import ActionDecision, ActionIntent, ActionResult, BadActionRecord
from tests.unit.collector.kubernetes.stored_objects import NODE, POD, StoredObjects
from tests.unit.collector.kubernetes.test_acting import CORDONED, EVICTED, LABELED

SECOND = 1_000_000_000
NOW = 1_800_000_000 * SECOND
CORDON = replace(CORDONED, id="04a21b55-2bbe-8d2a-9f0e-1c6f4a7d3b21", cluster="c", policy="p", lease=60 * SECOND)
LABEL = replace(LABELED, cluster="c", policy="p", lease=60 * SECOND)


class Elected:
    """Processes that are elected one after the other; the topics stay."""

    def __init__(self) -> None:
        self.stored = StoredObjects()
        self.topic: list[tuple[SignedRecord, int]] = []
        self.now = NOW
        self.rights = ClusterRights("c", frozenset(("label", "cordon", "evict")), ("db-*",), 3600 * SECOND)
        self.succeed("first")

    def succeed(self, term: str) -> None:
        """Replace the process by another one, which reads the topics."""
        actions = ClusterActions(cast("ApiServer", self.stored), "lanner")
        self.executor = ClusterExecutor(actions, self.rights, term=term, write=self._write, note=ignore_note)
        for record, stored in self.topic:
            self.executor.take(record, stored)

    def put(self, record: SignedRecord) -> None:
        """Store a record."""
        self.topic.append((record, self.now))
        self.executor.take(record, self.now)

    def turn(self, seconds: int = 0) -> list[tuple[str, str]]:
        """Wait, and return the results of two turns but those that announce."""
        self.now += seconds * SECOND
        known = len(self.topic)
        for _ in range(2):
            asyncio.run(self.executor.turn(self.now))
        results = [each for each, _ in self.topic[known:] if isinstance(each, ActionResult)]
        return [(each.outcome, each.text) for each in results if each.outcome != "received"]

    async def _write(self, result: ActionResult) -> None:
        self.put(result)

    @property
    def is_cordoned(self) -> bool:
        """Whether the node is."""
        return bool(self.stored.objects[NODE].get("spec", {}).get("unschedulable"))


@pytest.fixture
def elected() -> Elected:
    """Return the first process."""
    return Elected()


def decided(type_: str, subject: str = CORDON.id, by: str = "ann", lease: int = 0) -> ActionDecision:
    """Return a decision."""
    return ActionDecision(f"{type_}-{by}", type_, subject, by, NOW, lease)  # type: ignore[arg-type]


def test_an_action_is_done_once_and_ends_by_itself(elected: Elected) -> None:
    """Also if the intent comes again, and another process is elected in between."""
    elected.put(CORDON)
    assert elected.turn() == [("done", "cordoned; pods that run there go on")]
    assert elected.is_cordoned
    elected.put(CORDON)
    elected.succeed("second")
    assert elected.turn(59) == []
    elected.succeed("third")
    assert elected.turn(6) == [("ended", "uncordoned")]
    assert not elected.is_cordoned
    elected.succeed("fourth")
    assert elected.turn(10) == []


def test_a_person_undoes_and_extends(elected: Elected) -> None:
    """An undo that finds nothing is reported as well."""
    elected.put(LABEL)
    elected.turn()
    elected.put(decided("extend", LABEL.id, lease=600 * SECOND))
    assert elected.turn() == [("extended", "by a person")]
    assert elected.turn(100) == []
    elected.put(decided("undo", LABEL.id))
    assert elected.turn() == [("undone", "removed the label")]
    assert elected.stored.objects[POD]["metadata"]["labels"] == {"app": "web"}
    elected.put(CORDON)
    elected.turn()
    elected.stored.objects[NODE]["metadata"]["labels"] = {}
    elected.put(decided("undo", by="bob"))
    assert elected.turn() == [("undone", "nothing of it was left")]


def test_a_successor_finishes_what_was_begun(elected: Elected) -> None:
    """The first ended after it announced the action; to do it again does it once."""
    elected.put(CORDON)
    asyncio.run(elected.executor.turn(elected.now))
    elected.topic = [each for each in elected.topic if getattr(each[0], "outcome", "received") == "received"]
    elected.succeed("second")
    assert [outcome for outcome, _ in elected.turn()] == ["done"]


@pytest.mark.parametrize(
    ("intent", "text"),
    [
        (replace(CORDON, node="db-1"), "kubernetes.actions.never_nodes of this cluster names db-*"),
        (replace(LABEL, type="isolate"), "kubernetes.actions.enabled of this cluster doesn't name isolate"),
        (replace(EVICTED, cluster="c", namespace="kube-system"), "the cluster needs the pods of kube-system"),
    ],
)
def test_what_the_cluster_spares_is_refused(elected: Elected, intent: ActionIntent, text: str) -> None:
    """Whatever a policy states; nothing of the cluster changes."""
    elected.put(intent)
    assert elected.turn() == [("refused", text)]


def test_it_waits_for_approvals_and_not_too_long(elected: Elected) -> None:
    """By the broker's clock, as the result that announces the action returns it."""
    asked = replace(CORDON, state="ask", approvals=2, wait=60 * SECOND)
    elected.put(asked)
    elected.put(decided("approve"))
    assert elected.turn() == []
    elected.now += 61 * SECOND
    elected.put(decided("approve", by="bob"))
    assert [outcome for outcome, _ in elected.turn()] == ["refused"]
    assert not elected.is_cordoned


def test_a_stop_is_obeyed(elected: Elected) -> None:
    """Until somebody resumes."""
    elected.put(decided("stop", ""))
    elected.put(CORDON)
    assert elected.turn() == [("refused", "ann stopped all actions")]


def test_what_is_for_others_has_no_effect(elected: Elected) -> None:
    """For another cluster, for a host, or only stated."""
    for number, each in enumerate(
        (replace(CORDON, cluster="d"), replace(CORDON, state="would"), replace(CORDON, type="isolate", target="host"))
    ):
        elected.put(replace(each, id=f"{number}1a21b55-2bbe-8d2a-9f0e-1c6f4a7d3b21"))
    assert elected.turn() == []


def test_only_records_that_somebody_with_the_right_signed_count() -> None:
    """A host's key makes no intent, a processor's no decision, and nobody else's a result."""
    own, processor, person, host = (Ed25519PrivateKey.generate() for _ in range(4))
    keys = ClusterKeys(own, (processor.public_key(),), PeopleKeys((("ann", person.public_key()),)))
    result = ActionResult(CORDON.id, "h", "n", "done", "", NOW)
    for topic, record, right, wrong in (
        (ACTION_INTENTS, CORDON, processor, host),
        (ACTION_DECISIONS, decided("undo"), person, processor),
        (ACTION_RESULTS, result, own, host),
    ):
        for key, is_accepted in ((right, True), (wrong, False)):
            _, value, headers = action_message(record, key)  # type: ignore[arg-type]
            signature = dict(headers)["lanner_signature"]
            if is_accepted:
                assert keys.verified(topic, value, signature) == record
            else:
                with pytest.raises(BadActionRecord):
                    keys.verified(topic, value, signature)


def test_a_signed_intent_in_the_topic_is_done() -> None:
    """Through the broker that the client library simulates; what another key signed has no effect."""
    simulated = Producer({"test.mock.num.brokers": "1", "bootstrap.servers": "unused:1", "log_level": 0})
    (broker,) = simulated.list_topics(timeout=20).brokers.values()
    connection = Connection(bootstrap_servers=f"{broker.host}:{broker.port}", prefix="t.")
    own, processor, other = (Ed25519PrivateKey.generate() for _ in range(3))
    stored, noted, notes = StoredObjects(), asyncio.Event(), list[str]()
    for topic in (ACTION_DECISIONS, ACTION_RESULTS):
        simulated.produce(f"t.{topic}", b"another", partition=0)
    forged = replace(CORDON, id="05a21b55-2bbe-8d2a-9f0e-1c6f4a7d3b21", node="worker-2")
    for intent, key in ((forged, other), (CORDON, processor)):
        _, value, headers = action_message(intent, key)
        simulated.produce(f"t.{ACTION_INTENTS}", value, intent.id.encode(), partition=0, headers=headers)
    assert simulated.flush(20) == 0

    def note(text: str, _: object = "info") -> None:
        notes.append(text)
        noted.set()

    service = ClusterActionService(
        connection,
        ClusterKeys(own, (processor.public_key(),), PeopleKeys()),
        lambda write: ClusterExecutor(
            ClusterActions(cast("ApiServer", stored), "lanner"),
            ClusterRights("c", frozenset(("cordon",)), (), 3600 * SECOND),
            term="one",
            write=write,
            note=note,
        ),
        note,
    )

    async def act() -> None:
        running = asyncio.create_task(service.run(lambda: True))
        try:
            async with asyncio.timeout(40):
                await noted.wait()
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(act())
    # Noted once its result is stored, after the result that announces it was read back.
    assert notes == [f"{CORDON.summary}: done: cordoned; pods that run there go on."]
    assert stored.objects[NODE]["spec"] == {"unschedulable": True}
    assert "spec" not in stored.objects["/api/v1/nodes/worker-2"]
