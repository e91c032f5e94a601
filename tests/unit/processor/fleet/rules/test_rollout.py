"""Tests of how the shell performs the actions of a rollout; the broker's answers are given."""

import asyncio
from collections.abc import Callable
from typing import Any

from bus.clients.errors import MessageRefused
from bus.connection import Connection
from bus.published_rules import CURRENT
from bus.topics import PROCESSORS, RULES
from processor.correlation.stage import CorrelateStage
from processor.fleet.json_stage import JsonStage
from processor.fleet.message_stage import MessageStage
from processor.fleet.rules.actions import RULES_REFUSED, RulesInUse, RulesRefused
from processor.fleet.rules.peers import REPORTED
from processor.fleet.rules.rollout import RulesRollout, Stages
from schemas.alert import Alert
from tests.unit.processor.fleet.rules.versions import version

ONE, TWO = version(1), version(2)


class Received:
    """A message of the rules topic."""

    def key(self) -> bytes:
        """Return the key of the newest version."""
        return CURRENT

    def value(self) -> bytes:
        """Return any value."""
        return b"value"

    def timestamp(self) -> tuple[int, int]:
        """Return the append time."""
        return 1, 5

    def offset(self) -> int:
        """Return a newer offset than that of the active version."""
        return 9


class Broker:
    """Accepts messages, and answers alerts with what a test sets."""

    def __init__(self) -> None:
        self.alerts: list[Alert] = []
        self.sent: list[tuple[str, bytes]] = []
        self.answer: Exception | None = None

    async def alert(self, alert: Alert) -> "asyncio.Future[int]":
        """Accept or reject an alert."""
        self.alerts.append(alert)
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        if self.answer is None:
            done.set_result(0)
        else:
            done.set_exception(self.answer)
        return done

    async def send(self, topic: str, key: bytes, *_: Any) -> "asyncio.Future[int]":
        """Accept a message."""
        self.sent.append((topic, key))
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        done.set_result(0)
        return done


class Processor:
    """A rollout that reads and sends nothing by itself."""

    def __init__(self, prepare: Callable[[Any], RulesInUse] = lambda _: TWO, in_use: RulesInUse = ONE) -> None:
        self.notes: list[tuple[str, str]] = []
        self.broker = Broker()
        self.detect = MessageStage(in_use.ruleset, clock=lambda: 0.0, decode=in_use.decode)
        self.json = JsonStage(self.detect.evaluation)
        self.rollout = RulesRollout(
            Connection(bootstrap_servers="127.0.0.1:1"),
            in_use,
            Stages(self.detect, CorrelateStage(in_use.ruleset.plan), self.json),
            prepare,
            former={},
            worker="m",
            wait_seconds=0,
            on_note=lambda text, level="info": self.notes.append((level, text)),
        )
        self.rollout._shipping = self.broker

    def look(self, *taken: Any) -> None:
        """Receive messages up to the ends of the topics, and perform one step."""
        for each in (*taken, None):
            self.rollout._messages.put_nowait(each)
        asyncio.run(self.rollout._look())


def test_a_published_version_becomes_active() -> None:
    """The detect stage evaluates it, the one before is closed, and the change is reported to all."""
    closed: list[str] = []
    processor = Processor(in_use=version(1, closed=closed))
    processor.look((RULES, Received()))

    assert processor.rollout.in_use is TWO
    assert processor.detect.evaluation.rules is TWO.ruleset
    assert closed == [ONE.version]
    assert [alert.output_fields["rules.version"] for alert in processor.broker.alerts] == [TWO.version]
    assert (PROCESSORS, REPORTED) in processor.broker.sent


def test_a_version_that_cannot_be_compiled_is_refused() -> None:
    """By a reason for people, or by what was raised; the report is sent all the same."""
    for problem, reason in (
        (RulesRefused("bad key"), "bad key"),
        (KeyError("bug"), "it cannot be compiled: KeyError: 'bug'"),
    ):

        def prepare(_: Any, problem: Exception = problem) -> RulesInUse:
            raise problem

        processor = Processor(prepare)
        processor.look((RULES, Received()))

        assert processor.notes == [("error", f"rules refused: {reason}. Version {ONE.version} stays active.")]
        assert processor.broker.alerts[0].rule == RULES_REFUSED
        assert processor.rollout.in_use is ONE
        assert (PROCESSORS, b"m") in processor.broker.sent


def test_an_alert_that_the_broker_refuses_is_printed() -> None:
    """It would be refused again, so the change counts as reported."""
    processor = Processor()
    processor.broker.answer = MessageRefused("too large")
    processor.look()
    processor.look()

    assert len(processor.broker.alerts) == 1
    assert "was refused: too large" in processor.notes[0][1]
    assert (PROCESSORS, REPORTED) in processor.broker.sent


def test_an_alert_that_fails_is_sent_again() -> None:
    """The error is printed once, the other actions are performed, and the change is not yet marked as reported."""
    processor = Processor()
    processor.broker.answer = ConnectionError("gone")
    processor.look()
    processor.look()
    assert processor.notes == [("warning", "following the published rules failed: ConnectionError: gone.")]
    assert (PROCESSORS, b"m") in processor.broker.sent
    assert (PROCESSORS, REPORTED) not in processor.broker.sent

    processor.broker.answer = None
    processor.look()

    assert len({alert.id for alert in processor.broker.alerts}) == 1
    assert (PROCESSORS, REPORTED) in processor.broker.sent
