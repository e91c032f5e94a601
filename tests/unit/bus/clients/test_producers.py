import math
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from bus.clients.availability import FORGOTTEN_SECONDS, ConnectionState, Retry
from bus.clients.errors import ClientErrors, MessageRefused
from bus.clients.producers import STALLED_SECONDS, Outgoing, ResendingProducer, deliver
from bus.connection import BusUnavailable, Connection
from tests.notes import into

Answers = dict[str, KafkaError | BaseException | None]


class Message:
    """A stand-in for the message of a delivery report."""

    def __init__(self, offset: int | None = 7) -> None:
        self._offset = offset

    def offset(self) -> int | None:
        """Return its offset."""
        return self._offset


class Client:
    """A stand-in for librdkafka's producer, since no broker gives chosen errors on demand; answers by the key."""

    def __init__(self, answers: Answers) -> None:
        self.taken: list[str] = []
        self.unproven: list[str] = []
        """What is acknowledged without an offset once."""
        self.is_full = False
        self._answers = answers
        self._waiting: list[tuple[str, Callable[[KafkaError | None, Any], None]]] = []

    def produce(self, topic: str, value: bytes, key: bytes, **options: Any) -> None:
        """Queue a message."""
        assert (topic, value) == ("t", b"value")
        name = key.decode()
        if isinstance(answer := self._answers.get(name), BaseException):
            raise answer
        if self.is_full:
            raise BufferError
        self._waiting.append((name, options["on_delivery"]))

    def poll(self, _: float) -> None:
        """Report all messages that have an answer; the others stay pending."""
        waiting, self._waiting = self._waiting, []
        for name, report in waiting:
            if name not in self._answers:
                self._waiting.append((name, report))
                continue
            answer = self._answers[name]
            assert not isinstance(answer, BaseException)
            if name in self.unproven:
                self.unproven.remove(name)
                report(None, Message(None))
                continue
            if answer is None:
                self.taken.append(name)
            report(answer, Message())

    def purge(self) -> None:
        """Fail all pending messages."""
        waiting, self._waiting = self._waiting, []
        for _, report in waiting:
            report(KafkaError(KafkaError._PURGE_INFLIGHT), Message())


class Case:
    """A producer whose successive clients give prepared answers."""

    def __init__(self, *answers: Answers, separate: Answers | None = None) -> None:
        self.clients = [Client(each) for each in answers]
        self.separate = Client(separate or {})
        self.now = 0.0
        self.notes: list[str] = []
        self.reports: dict[str, list[tuple[Exception | None, int]]] = {}
        made = iter(self.clients)
        retry = Retry("Sending", into(self.notes), clock=lambda: self.now, draw=lambda: 0.0)
        self.state = ConnectionState(clock=lambda: self.now)
        self.producer = ResendingProducer(
            lambda: next(made),  # type: ignore[arg-type, return-value]
            lambda: self.separate,  # type: ignore[arg-type, return-value]
            ClientErrors(Connection()),
            self.state,
            retry,
        )

    def send(self, *names: str) -> list[bool]:
        """Send messages."""

        def report_of(name: str) -> Callable[[Exception | None, int], None]:
            return lambda error, offset: self.reports.setdefault(name, []).append((error, offset))

        return [self.producer.send(Outgoing("t", name.encode(), b"value", []), report_of(name)) for name in names]

    def run(self, turns: int, monkeypatch: pytest.MonkeyPatch) -> None:
        """Poll several times, one second apart."""
        for _ in range(turns):
            self.now += 1
            monkeypatch.setattr("bus.clients.producers.time.monotonic", lambda: self.now)
            self.producer.poll(0)


def test_what_the_client_gave_up_is_sent_again_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new client resends a failed message and all after it, but none that had arrived."""
    lost = KafkaError(KafkaError._FATAL)
    case = Case({"a": None, "b": lost}, {"b": None, "c": None, "d": None})
    assert case.send("a", "b", "c") == [True, True, True]
    case.run(1, monkeypatch)
    assert case.send("d") == [False]
    case.run(2, monkeypatch)
    assert case.send("d") == [True]
    case.run(1, monkeypatch)
    assert [client.taken for client in case.clients] == [["a"], ["b", "c", "d"]]
    assert case.reports == {name: [(None, 7)] for name in "abcd"}
    assert case.producer.pending == 0
    assert "Sending is waiting" in case.notes[0]
    assert "continues after" in case.notes[-1]


def test_what_is_acknowledged_without_an_offset_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such a message may be lost: it is sent once more, and reported with the offset that it has then."""
    case = Case({"a": None, "b": None})
    case.clients[0].unproven = ["a"]
    case.send("a", "b")
    case.run(1, monkeypatch)
    assert case.reports == {"b": [(None, 7)]}
    case.run(1, monkeypatch)
    assert case.clients[0].taken == ["b", "a"]
    assert case.reports == {name: [(None, 7)] for name in "ab"}
    assert case.producer.pending == 0
    assert not case.notes


def test_what_has_no_offset_and_finds_no_room_goes_to_the_next_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the client's queue is full when a message must be sent again, the next client sends it."""
    case = Case({"a": None}, {"a": None})
    case.clients[0].unproven = ["a"]
    case.send("a")
    case.clients[0].is_full = True
    case.run(4, monkeypatch)
    assert [client.taken for client in case.clients] == [[], ["a"]]
    assert case.reports == {"a": [(None, 7)]}


def test_a_client_that_takes_nothing_any_more_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed client raises on produce; the next client sends that message."""
    over = KafkaException(KafkaError(KafkaError._FATAL))
    case = Case({"a": over}, {"a": None})
    assert case.send("a") == [True]
    case.run(3, monkeypatch)
    assert case.clients[1].taken == ["a"]
    assert case.reports == {"a": [(None, 7)]}


def test_a_message_that_is_refused_alone_is_not_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the broker refuses together is sent again separately; only what it refuses then is reported as such."""
    size = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)
    case = Case({"a": KafkaException(size), "b": size, "c": size, "d": None}, separate={"b": size, "c": None})
    assert case.send("a", "b", "c", "d") == [True, True, True, True]
    case.run(1, monkeypatch)
    for name in "ab":
        ((error, _),) = case.reports[name]
        assert isinstance(error, MessageRefused)
    assert case.reports["c"] == case.reports["d"] == [(None, 7)]
    assert (case.clients[0].taken, case.separate.taken) == (["d"], ["c"])
    assert case.producer.pending == 0
    assert not case.notes


def test_what_waits_to_be_sent_separately_goes_to_the_next_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that fails is replaced; what was refused together is sent by the new one."""
    size, lost = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE), KafkaError(KafkaError._FATAL)
    case = Case({"a": size, "b": None}, {"a": None}, separate={"a": lost})
    case.send("a", "b")
    case.run(4, monkeypatch)
    assert case.clients[1].taken == ["a"]
    assert case.reports == {name: [(None, 7)] for name in "ab"}


def test_what_no_waiting_mends_is_reported_of_all_that_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a fatal error every pending message is reported, and later ones are tried."""
    denied = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)
    case = Case({"a": denied}, {"c": None})
    case.send("a", "b")
    case.run(1, monkeypatch)
    for name in "ab":
        ((error, _),) = case.reports[name]
        assert isinstance(error, BusUnavailable)
        assert "denies" in error.reason
    case.send("c")
    case.run(1, monkeypatch)
    assert case.reports["c"] == [(None, 7)]


def test_a_topic_that_is_unknown_for_a_while_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown topic is retried for half a minute, and then reported."""
    unknown = KafkaError(KafkaError._UNKNOWN_TOPIC)
    case = Case(*[{"a": unknown}] * 3, {"a": None})
    case.send("a")
    case.run(12, monkeypatch)
    assert case.reports == {"a": [(None, 7)]}
    case = Case(*[{"a": unknown}] * 40, {})
    case.send("a")
    case.run(60, monkeypatch)
    ((error, _),) = case.reports["a"]
    assert isinstance(error, BusUnavailable)
    assert error.patience < math.inf


def test_a_silent_broker_is_reported_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that is pending for more than three seconds is reported, and so is its arrival."""
    case = Case({})
    monkeypatch.setattr("bus.clients.producers.time.monotonic", lambda: 0.0)
    case.send("a")
    case.run(20, monkeypatch)
    assert len(case.notes) == 1
    case.send("b")
    case.clients[0]._answers["a"] = None
    case.run(3, monkeypatch)
    assert len(case.notes) == 2, "what waited as long arrives behind it"
    assert case.reports == {"a": [(None, 7)]}


def test_whoever_waits_hears_of_each_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages that are not acknowledged in time are reported and dropped."""
    size = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)
    case = Case({"a": None, "b": size}, separate={"b": size})
    times = iter(range(1000))
    monkeypatch.setattr("bus.clients.producers.time.monotonic", lambda: next(times) / 10)
    first, second, third = deliver(case.producer, [Outgoing("t", key, b"value", []) for key in (b"a", b"b", b"c")], 5)
    assert first is None
    assert isinstance(second, MessageRefused)
    assert isinstance(third, BusUnavailable)
    case.clients[0]._answers["c"] = None
    case.producer.poll(0)
    assert case.clients[0].taken == ["a"]


def test_a_client_that_stays_silent_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """It neither delivers nor fails what it holds; the next client sends it, and it is reported once."""
    case = Case({}, {"a": None, "b": None})
    monkeypatch.setattr("bus.clients.producers.time.monotonic", lambda: case.now)
    assert case.send("a", "b") == [True, True]
    case.run(math.ceil(STALLED_SECONDS) + 1, monkeypatch)
    assert case.producer.pending == 2
    case.run(2, monkeypatch)

    assert case.clients[1].taken == ["a", "b"]
    assert case.reports == {name: [(None, 7)] for name in "ab"}


def test_a_client_that_knows_no_broker_any_more_is_replaced_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its second report in a row without a broker ends it; the next client sends what it held."""
    case = Case({}, {"a": None})
    case.send("a")
    (report,) = (each for name, each in case.state.options.items() if name == "stats_cb")
    report('{"brokers": {}}')
    case.run(math.ceil(FORGOTTEN_SECONDS), monkeypatch)
    assert case.producer.pending == 1
    case.run(2, monkeypatch)
    assert case.clients[1].taken == ["a"]
    assert not case.state.is_stalled


def test_a_client_that_is_silent_about_one_partition_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other messages arrive all the time; the one that does not is sent by the next client."""
    others = [f"other-{number}" for number in range(math.ceil(STALLED_SECONDS) + 4)]
    case = Case(dict.fromkeys(others), {"a": None} | dict.fromkeys(others))
    monkeypatch.setattr("bus.clients.producers.time.monotonic", lambda: case.now)
    case.send("a")
    for other in others:
        case.send(other)
        case.run(1, monkeypatch)

    assert case.clients[1].taken[:1] == ["a"]
    assert case.reports == {name: [(None, 7)] for name in ("a", *others)}
