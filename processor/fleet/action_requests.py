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
from bus.topics import ACTION_DECISIONS, ACTION_REQUESTS
from foundation.text import OnNote, printable
from processor.actions.planning import Planner
from processor.actions.policies import policies_by_rule
from processor.actions.requests import ActionRequest, encode_request, encode_reset
from processor.fleet.producer import ResultProducer
from processor.fleet.rules.actions import RulesInUse
from schemas.action import ActionDecision, ActionIntent, BadActionRecord
from schemas.alert import Alert

_DAY = 86_400_000_000_000
Request = tuple[str, bytes, bytes, Headers]
"""Topic, key, value and headers of a message."""


class ActionRequests:
    """The requests of one processor."""

    def __init__(
        self,
        connection: Connection,
        key: Ed25519PrivateKey,
        people: Sequence[Ed25519PublicKey],
        *,
        worker: str,
        on_note: OnNote,
    ) -> None:
        """Begin; nothing is connected.

        Args:
            connection: the broker.
            key: signs intents.
            people: the keys whose decisions about fuses count.
            worker: the name of this processor.
            on_note: receives messages for an operator.
        """
        self._connection = connection
        self._key = key
        self._people = people
        self._worker = worker
        self._on_note = on_note
        self._stopped = threading.Event()
        self._in_use: RulesInUse | None = None
        self._planner = Planner({})
        self.refused = 0
        """Requests that could not be encoded."""

    def start(self, shipping: ResultProducer, in_use: Callable[[], RulesInUse], hosts: Callable[[], int]) -> None:
        """Start; on the running loop.

        Args:
            shipping: sends requests with alerts.
            in_use: returns the active rules.
            hosts: returns the number of hosts in the fleet.
        """
        shipping.requests = lambda alert: list(self._of(alert, in_use(), hosts()))
        loop = asyncio.get_running_loop()

        def take(_: str, message: Message) -> None:
            if (found := self._reset(message)) is not None:
                asyncio.run_coroutine_threadsafe(shipping.send(*found), loop)

        follow(CompactedTopicReader(self._connection, [ACTION_DECISIONS]), self._stopped, take, at_end=lambda: None)

    def finish(self) -> None:
        """Stop."""
        self._stopped.set()

    def sign(self, intent: ActionIntent) -> tuple[bytes, bytes, Headers]:
        """Return key, value and headers of an intent's message. Raises BadActionRecord."""
        return action_message(intent, self._key)

    def _of(self, alert: Alert, in_use: RulesInUse, hosts: int) -> Iterator[Request]:
        if in_use is not self._in_use:
            self._in_use = in_use
            self._planner = Planner(policies_by_rule(in_use.rules.actions, in_use.rules.rules))
        for planned in self._planner.plan(alert):
            if planned.intent.refusal:
                # The alert states it.
                continue
            intent = replace(planned.intent, by=self._worker, rules_version=in_use.version)
            try:
                value = encode_request(ActionRequest(intent, planned.policy.budget, hosts))
            except BadActionRecord as error:
                self.refused += 1
                self._on_note(f"alert {alert.id} requests no action {printable(intent.policy)}: {error}.", "warning")
                continue
            yield ACTION_REQUESTS, intent.policy.encode(), value, JSON_HEADERS

    def _reset(self, message: Message) -> Request | None:
        """Return the message by which the owner of a budget learns that a person reset its fuse; None for others."""
        stored = append_time(message.timestamp()[1])
        if time.time_ns() - stored > _DAY:
            return None
        try:
            decision = verified(message.value() or b"", signature_of(message), ActionDecision, self._people).record
        except BadActionRecord as error:
            self._on_note(f"a decision about actions at {message.offset()} is ignored: {error}.", "warning")
            return None
        if decision.type != "reset":
            return None
        return ACTION_REQUESTS, decision.subject.encode(), encode_reset(stored), JSON_HEADERS
