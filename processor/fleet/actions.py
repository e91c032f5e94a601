"""Actions in a fleet: requests on their way to the owner of a policy's budget, and the stage that decides about them.

ActionRequests sends what alerts request of action policies, and people's resets of fuses. ActionStage owns budgets:
requests come in, signed intents and alerts go out. It is pure. The state of a partition is stored in a changelog topic,
as that of stateful rules, so the next owner continues with what was spent: no request is decided twice by different
budgets.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from confluent_kafka import Message
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from bus.actions import action_message, signature_of, verified
from bus.clients.compacted import CompactedTopicReader, follow
from bus.connection import Connection, fault_text
from bus.messages import JSON_HEADERS, Headers, append_time
from bus.signatures import bare_public_key
from bus.topics import ACTION_DECISIONS, ACTION_INTENTS, ACTION_REQUESTS, ACTION_RESULTS
from foundation.caches import BoundedMap
from foundation.text import OnNote, printable
from processor.actions.planning import Planner
from processor.actions.policies import policies_by_rule
from processor.actions.requests import (
    ActionRequest,
    PolicyBudgets,
    ReportedResult,
    action_result,
    decode_request,
    encode_request,
    encode_reset,
    encode_result,
    fuse_blown,
)
from processor.correlation.groups import Key
from processor.correlation.stage import StageResult
from processor.correlation.state import StateChange
from processor.fleet.producer import ResultProducer
from processor.fleet.rules.actions import RulesInUse
from schemas.action import ActionDecision, ActionIntent, ActionResult, BadActionRecord, decode_action_record
from schemas.alert import Alert

_DAY = 86_400_000_000_000
_RESULT_AGE = 120_000_000_000
"""Older results were passed on before this processor started, if one ran."""
_NEWEST = 5000
Request = tuple[str, bytes, bytes, Headers]
"""Topic, key, value and headers of a message."""

_MAX_SEEN = 10_000
Sign = Callable[[ActionIntent], tuple[bytes, bytes, Headers]]
"""Returns key, value and headers of an intent's message. Raises BadActionRecord."""


class ActionRequests:
    """The requests of one processor."""

    def __init__(
        self,
        connection: Connection,
        key: Ed25519PrivateKey,
        accepted: tuple[Sequence[Ed25519PublicKey], Sequence[Ed25519PublicKey]],
        *,
        host_key: Callable[[str], bytes | None] | None,
        worker: str,
        on_note: OnNote,
    ) -> None:
        """Begin; nothing is connected.

        Args:
            connection: the broker.
            key: signs intents.
            accepted: the keys whose decisions about fuses count, and those that sign results of clusters.
            host_key: returns the public key of a host by its id; None to believe unsigned results.
            worker: the name of this processor.
            on_note: receives messages for an operator.
        """
        self._connection = connection
        self._key = key
        self._people, self._clusters = accepted
        self._worker = worker
        self._on_note = on_note
        self._stopped = threading.Event()
        self._in_use: RulesInUse | None = None
        self._planner = Planner({})
        self._intents: BoundedMap[str, ActionIntent] = BoundedMap(_NEWEST)
        self._host_key = host_key
        self.refused = 0
        """Requests that could not be encoded, and records that were ignored."""

    def start(self, shipping: ResultProducer, in_use: Callable[[], RulesInUse], hosts: Callable[[], int]) -> None:
        """Start; on the running loop.

        Args:
            shipping: sends requests with alerts.
            in_use: returns the active rules.
            hosts: returns the number of hosts in the fleet.
        """
        shipping.requests = lambda alert: list(self._of(alert, in_use(), hosts))
        loop = asyncio.get_running_loop()

        def take(topic: str, message: Message) -> None:
            if (found := self._passed_on(topic, message)) is not None:
                asyncio.run_coroutine_threadsafe(shipping.send(*found), loop)

        newest = {ACTION_INTENTS: _NEWEST, ACTION_RESULTS: _NEWEST}
        reader = CompactedTopicReader(self._connection, [ACTION_DECISIONS, *newest], newest=newest)
        follow(reader, self._stopped, take, at_end=lambda: None)

    def finish(self) -> None:
        """Stop."""
        self._stopped.set()

    def sign(self, intent: ActionIntent) -> tuple[bytes, bytes, Headers]:
        """Return key, value and headers of an intent's message. Raises BadActionRecord."""
        return action_message(intent, self._key)

    def _of(self, alert: Alert, in_use: RulesInUse, hosts: Callable[[], int]) -> Iterator[Request]:
        if in_use is not self._in_use:
            self._in_use = in_use
            self._planner = Planner(policies_by_rule(in_use.rules.actions, in_use.rules.rules))
        for planned in self._planner.plan(alert):
            if planned.intent.refusal:
                # The alert states it.
                continue
            # A host knows the versions that were published, not the files of a processor.
            version = "" if in_use.published is None else in_use.version
            intent = replace(planned.intent, by=self._worker, rules_version=version)
            try:
                value = encode_request(ActionRequest(intent, planned.policy.budget, hosts()))
            except BadActionRecord as error:
                self.refused += 1
                self._on_note(f"alert {alert.id} requests no action {printable(intent.policy)}: {error}.", "warning")
                continue
            yield ACTION_REQUESTS, intent.policy.encode(), value, JSON_HEADERS

    def _passed_on(self, topic: str, message: Message) -> Request | None:
        """Return what the owner of a budget learns of a person's reset of its fuse, or of a result; None of others."""
        value, stored = message.value() or b"", append_time(message.timestamp()[1])
        age = time.time_ns() - stored
        try:
            if topic == ACTION_INTENTS:
                intent = decode_action_record(value, ActionIntent)
                self._intents.put(intent.id, intent)
            elif topic == ACTION_RESULTS and age < _RESULT_AGE:
                return self._result(value, message)
            elif topic == ACTION_DECISIONS and age < _DAY:
                decision = decode_action_record(value, ActionDecision)
                if decision.type == "reset":
                    verified(value, signature_of(message), ActionDecision, self._people)
                    return ACTION_REQUESTS, decision.subject.encode(), encode_reset(stored), JSON_HEADERS
        except Exception as error:  # noqa: BLE001  no record may keep the next ones from being read
            self.refused += 1
            self._on_note(f"{topic} at {message.offset()}: ignored: {printable(str(error))}.", "warning")
        return None

    def _result(self, value: bytes, message: Message) -> Request | None:
        result = decode_action_record(value, ActionResult)
        if result.outcome == "received":
            return None
        intent = self._intents.get(result.intent)
        if intent is not None and intent.is_for_cluster:
            verified(value, signature_of(message), ActionResult, self._clusters)
        elif self._host_key is not None:
            known = self._host_key(result.host_id)
            verified(value, signature_of(message), ActionResult, [] if known is None else [bare_public_key(known)])
        if intent is not None and intent.host_id != result.host_id:
            raise BadActionRecord("the intent was meant for another host")
        policy = "" if intent is None else intent.policy
        return ACTION_REQUESTS, policy.encode(), encode_result(ReportedResult(result, intent)), JSON_HEADERS


class ActionStage:
    """The budgets of one process: those of each partition that it owns."""

    def __init__(self, sign: Sign) -> None:
        self._sign = sign
        self._budgets: dict[int, PolicyBudgets] = {}
        self._changed: dict[int, dict[str, int]] = {}
        """By partition and policy, the offset of the message that changed its budget last."""
        self._seen: BoundedMap[tuple[str, str, int], None] = BoundedMap(_MAX_SEEN)
        """The results about which an alert was sent."""
        self.lost = 0
        """Partitions whose budgets were lost when they were taken over."""

    def begin(self, partition: int, blobs: Iterable[bytes], applied: int) -> int:  # noqa: ARG002  of the protocol
        """Take over a partition with its stored state; return the number of values that can't be read."""
        budgets, unreadable = PolicyBudgets(), 0
        for blob in blobs:
            try:
                budgets.load(blob)
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                unreadable += 1
        self._budgets[partition], self._changed[partition] = budgets, {}
        return unreadable

    def take(self, partition: int, key: bytes | None, value: bytes | None, appended: int, offset: int) -> StageResult:
        """Decide about one request, or reset a fuse, in the order of the partition.

        Args:
            partition: of the topic.
            key: the policy's name.
            value: as `encode_request` or `encode_reset` made it.
            appended: when the broker appended the message, ns since the epoch: the clock.
            offset: of the message; returned as the cause of its changes.
        """
        budgets = self._budgets[partition]
        try:
            policy = (key or b"").decode()
            found = decode_request(value or b"")
            if isinstance(found, int):
                budgets.reset(policy, found)
                self._changed[partition][policy] = offset
                return StageResult()
            if isinstance(found, ReportedResult):
                return StageResult(self._reported(found))
            if found.intent.policy != policy:
                return StageResult(refused="its key is not its policy")
            return self._decided(budgets, found, appended, (partition, offset))
        except (BadActionRecord, UnicodeDecodeError) as error:
            return StageResult(refused=f"not decodable: {error}")
        except Exception as error:  # noqa: BLE001  one message must not stop the others
            return StageResult(refused=f"evaluation failed: {fault_text(error)}")

    def _decided(
        self, budgets: PolicyBudgets, request: ActionRequest, now: int, position: tuple[int, int]
    ) -> StageResult:
        partition, offset = position
        policy = request.intent.policy
        was_blown = budgets.blown(policy)
        intent = budgets.take(request, now)
        if intent is None:
            return StageResult()
        self._changed[partition][policy] = offset
        alerts: tuple[Alert, ...] = ()
        if (why := budgets.blown(policy)) and not was_blown:
            alerts = (fuse_blown(intent, why),)
        key, value, headers = self._sign(intent)
        return StageResult(alerts, sent=((ACTION_INTENTS, key, value, headers),))

    def _reported(self, found: ReportedResult) -> tuple[Alert, ...]:
        # Each processor passes each result on; after another took over, the alert has the same id.
        result = found.result
        key = (result.intent, result.outcome, result.at)
        if key in self._seen:
            return ()
        self._seen.put(key, None)
        return (action_result(result, found.intent),)

    def take_repaired(self) -> int:
        """Return 0: times are the broker's."""
        return 0

    def take_changes(self, partition: int) -> list[StateChange]:
        """Return the changes to write to a partition's table since the last call."""
        changed, self._changed[partition] = self._changed[partition], {}
        budgets = self._budgets[partition]
        return [
            StateChange((policy, ()), policy.encode(), budgets.dump(policy), cause) for policy, cause in changed.items()
        ]

    def everything(self, partition: int) -> Mapping[bytes, bytes]:
        """Return the whole content of a partition's table."""
        budgets = self._budgets[partition]
        return {policy.encode(): budgets.dump(policy) for policy in budgets.policies}

    def forget(self, partition: int, key: Key) -> None:
        """Drop the budget of a policy whose state the table refused."""
        self._budgets[partition].forget(key[0])

    def remembers(self, partition: int) -> bool:  # noqa: ARG002  of the protocol
        """Return False: nothing ends by the time."""
        return False

    def drop_all(self) -> None:
        """Drop everything: partitions are being reassigned."""
        self._budgets.clear()
        self._changed.clear()
