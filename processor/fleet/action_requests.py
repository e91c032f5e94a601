"""Sends what alerts request of action policies to the owner of the policy's budget, and people's resets of fuses."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from confluent_kafka import Message
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from bus.actions import action_message, signature_of, verified
from bus.clients.compacted import CompactedTopicReader, follow
from bus.connection import Connection
from bus.messages import JSON_HEADERS, Headers, append_time
from bus.signatures import bare_public_key
from bus.topics import ACTION_DECISIONS, ACTION_INTENTS, ACTION_REQUESTS, ACTION_RESULTS
from foundation.caches import BoundedMap
from foundation.text import OnNote, printable
from processor.actions.planning import Planner
from processor.actions.policies import policies_by_rule
from processor.actions.requests import ActionRequest, ReportedResult, encode_request, encode_reset, encode_result
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
