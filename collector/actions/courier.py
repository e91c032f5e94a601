"""Passes a fleet's intents and decisions to the executor of this host, and its results to the fleet.

It has no power: the executor verifies what it passes on. What it adds is the broker's present time, which no intent can
claim: it learns the time from the broker's acknowledgements of its own results.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, KafkaError, Message, Producer

from bus.actions import domain_of, key_of, signature_of
from bus.clients.compacted import CompactedTopicReader
from bus.clients.producers import make_producer, producer_config
from bus.connection import Connection
from bus.messages import JSON_HEADERS, KEY, SIGNATURE, Headers, append_time
from bus.topics import ACTION_DECISIONS, ACTION_INTENTS, ACTION_RESULTS
from collector.actions.socket import ActionsClient
from collector.publishing.identity import HostIdentity
from foundation.caches import BoundedMap
from foundation.text import OnNote, printable
from schemas.action import (
    ActionDecision,
    ActionIntent,
    ActionResult,
    Outcome,
    decode_action_record,
    encode_action_record,
)

_NEWEST = 5000
"""Intents that are read at the start: older ones have expired, or the executor knows them."""
_MAX_EARLY = 10_000
_PER_INTENT = 20
"""Decisions that are stored."""
_POLL_SECONDS = 0.05
_CLOCK_SECONDS = 300.0
"""How old the knowledge of the broker's clock may be; until then, the boot clock goes on from it."""
_CLOSE_SECONDS = 3.0
Raw = tuple[bytes, bytes, int]
"""Value, signature, and append time in ns."""


class ActionCourier:
    """One thread between the topics of actions and the executor's socket."""

    def __init__(
        self,
        connection: Connection,
        client: ActionsClient,
        *,
        host: tuple[str, str],
        identity: HostIdentity | None,
        versions: Callable[[], frozenset[str]],
        on_note: OnNote,
    ) -> None:
        """Begin; nothing is connected.

        Args:
            connection: the broker.
            client: the connection to the executor.
            host: this host's id and name.
            identity: signs results; None to send them unsigned.
            versions: returns the versions of the rules for which this host collects; `*` stands for every one.
            on_note: receives messages for an operator.
        """
        self.passed = 0
        """Intents and decisions passed to the executor."""
        self.refused = 0
        """Records that could not be decoded, and intents of rules that this host doesn't know."""
        self._connection = connection
        self._client = client
        self._host_id, self._hostname = host
        self._identity = identity
        self._versions = versions
        self._on_note = on_note
        self._stopped = threading.Event()
        self._own: BoundedMap[str, Raw] = BoundedMap(_NEWEST)
        """By id, the intents for this host."""
        self._decisions: BoundedMap[str, list[Raw]] = BoundedMap(_MAX_EARLY)
        """By the id of an intent, known or not, the decisions about it."""
        self._waiting: deque[str] = deque()
        """Ids of intents that wait until the broker's time is known."""
        self._broker: tuple[int, float] | None = None
        """The broker's time, ns since the epoch, and the boot clock at which it was that, s."""
        self._outgoing: deque[tuple[bytes, bytes, Headers]] = deque()
        """Key, value and headers of results to send."""
        self._in_flight = 0
        """Results that the broker hasn't acknowledged."""
        self._thread = threading.Thread(target=self._run, name="actions", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop, and wait shortly until results are sent."""
        self._stopped.set()
        self._thread.join(_CLOSE_SECONDS)

    def _run(self) -> None:
        reader = CompactedTopicReader(
            self._connection, [ACTION_INTENTS, ACTION_DECISIONS], fetch_wait_ms=50, newest={ACTION_INTENTS: _NEWEST}
        )
        producer = self._producer = make_producer(
            producer_config(self._connection, "lanner-actions", queue_bytes=1 << 20)
        )
        reported, errors = "", 0
        try:
            while not self._stopped.is_set():
                if (taken := reader.poll(_POLL_SECONDS)) is not None:
                    self._take(*taken)
                self._send(producer)
                # The executor forgets results that were read: the former ones must be acknowledged first.
                if not self._in_flight:
                    for result in self._client.poll():
                        self._publish(result)
                if self._client.errors != errors:
                    errors = self._client.errors
                    self._on_note(f"the executor refused a record: {printable(self._client.last_error)}.", "warning")
                if reader.last_error != reported:
                    reported = reader.last_error
                    if reported:
                        self._on_note(f"intents cannot be read ({reported}): nothing new is done.", "warning")
        except Exception as error:  # noqa: BLE001  the collector goes on without actions, and reports it
            self._on_note(f"actions stopped: {type(error).__name__}: {error}.", "error")
        finally:
            reader.close()
            producer.flush(_CLOSE_SECONDS)
            self._client.close()

    def _take(self, topic: str, message: Message) -> None:
        value, stored = message.value() or b"", append_time(message.timestamp()[1])
        raw = (value, signature_of(message), stored)
        try:
            if topic == ACTION_INTENTS:
                self._take_intent(decode_action_record(value, ActionIntent), raw)
            else:
                self._take_decision(decode_action_record(value, ActionDecision), raw)
        except Exception as error:  # noqa: BLE001  no record may keep the next ones from being read
            self.refused += 1
            self._on_note(f"{topic} at {message.offset()}: ignored: {printable(str(error))}.", "warning")

    def _take_intent(self, intent: ActionIntent, raw: Raw) -> None:
        if intent.host_id != self._host_id or intent.refusal or intent.state == "would":
            return
        versions = self._versions()
        if intent.rules_version and not {intent.rules_version, "*"} & versions:
            self.refused += 1
            text = f"this host does not collect for version {intent.rules_version} of the rules"
            self._publish(self._result(intent.id, "refused", text))
            return
        self._own.put(intent.id, raw)
        self._waiting.append(intent.id)
        if self._now() is None:
            # Its acknowledgement has the time.
            self._publish(self._result(intent.id, "received", "the host has the intent"))
        else:
            self._pass_waiting()

    def _take_decision(self, decision: ActionDecision, raw: Raw) -> None:
        if decision.type == "reset":
            return
        if decision.type in ("stop", "resume"):
            self._client.send_decision(*raw, self._now() or 0)
            self.passed += 1
            return
        self._decisions.put(decision.subject, [*(self._decisions.get(decision.subject) or ()), raw][-_PER_INTENT:])
        # The executor may know an intent that is not among the newest ones.
        self._client.send_decision(*raw, self._now() or 0)
        self.passed += 1
        if self._own.get(decision.subject) is not None:
            self._waiting.append(decision.subject)
            if self._now() is None:
                self._publish(self._result(decision.subject, "received", "the host has a decision"))
            else:
                self._pass_waiting()

    def _pass_waiting(self) -> None:
        """Pass intents and what was decided about them; in whatever order both were read."""
        now = self._now()
        while self._waiting and now is not None:
            id_ = self._waiting.popleft()
            intent = self._own.get(id_)
            if intent is None:
                continue
            for decision in self._decisions.get(id_) or ():
                self._client.send_decision(*decision, now)
            self._client.send_intent(*intent, now)
            self.passed += 1

    def _now(self) -> int | None:
        """Return the broker's time, ns since the epoch; None if it isn't known."""
        if self._broker is None:
            return None
        then, at = self._broker
        passed = time.clock_gettime(time.CLOCK_BOOTTIME) - at
        return None if passed > _CLOCK_SECONDS else then + int(passed * 1e9)

    def _result(self, intent: str, outcome: Outcome, text: str) -> ActionResult:
        return ActionResult(intent, self._host_id, self._hostname, outcome, text, time.time_ns())

    def _publish(self, result: ActionResult) -> None:
        value = encode_action_record(result)
        headers: Headers = list(JSON_HEADERS)
        if self._identity is not None:
            key = self._identity.key
            headers += [(KEY, key.public_key), (SIGNATURE, key.sign(domain_of(ActionResult) + value))]
        self._outgoing.append((key_of(result), value, headers))

    def _send(self, producer: Producer) -> None:
        topic = self._connection.topic(ACTION_RESULTS)

        def answered(outgoing: tuple[bytes, bytes, Headers], error: KafkaError | None, message: Message) -> None:
            self._in_flight -= 1
            # A restarting broker may accept a message without an offset, and lose it.
            if error is not None or message.offset() is None:
                if error is not None and not error.retriable():
                    self._on_note(f"a result of an action was refused: {error.str()}.", "error")
                    return
                self._outgoing.append(outgoing)
                return
            kind, milliseconds = message.timestamp()
            if kind == TIMESTAMP_LOG_APPEND_TIME:
                self._broker = append_time(milliseconds), time.clock_gettime(time.CLOCK_BOOTTIME)
                self._pass_waiting()

        with suppress(BufferError):
            while self._outgoing:
                key, value, headers = outgoing = self._outgoing[0]
                producer.produce(topic, value, key, headers=headers, on_delivery=partial(answered, outgoing))
                self._outgoing.popleft()
                self._in_flight += 1
        producer.poll(0)
