"""Decisions about intents: who may request what, when, how often, and what happens if the process is killed."""

import os
import signal
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bus.actions import PeopleKeys, action_message
from bus.messages import SIGNATURE
from collector.actions import journal
from collector.actions.effect import ActionRefused, Effect, TargetGone, UndoFacts
from collector.actions.executor import AT_ONCE, ActionRights, ActionTimes, Executor
from collector.actions.journal import Journal
from collector.actions.socket import BadPacket, RecordPacket, TakenPacket, decode_packet
from schemas.action import ActionDecision, ActionIntent, ActionResult, decode_action_record, encode_action_record

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
BROKER = 1_700_000_000 * SECOND
"""The broker's time; this host's clocks differ from it."""
PROCESSOR, PERSON, STRANGER = (Ed25519PrivateKey.from_private_bytes(bytes([each]) * 32) for each in (1, 2, 3))
CONTAINER = "c" * 64


@dataclass(slots=True)
class Recorded:
    """A type of action that writes down what it is called with."""

    calls: list[str] = field(default_factory=list)
    error: Exception | None = None
    is_deadly: bool = False

    def do(self, intent: ActionIntent) -> Effect:
        """Act."""
        self.calls.append(f"do {intent.id} {intent.lease // SECOND}")
        if self.is_deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.error is not None:
            raise self.error
        return Effect("it is done", {"known": 1})

    def extend(self, intent: ActionIntent, facts: UndoFacts, lease: int) -> None:
        """Extend."""
        self.calls.append(f"extend {intent.id} {lease // SECOND} {dict(facts)}")

    def undo(self, intent: ActionIntent, facts: UndoFacts) -> str:
        """Undo."""
        self.calls.append(f"undo {intent.id} {dict(facts)}")
        if self.error is not None:
            raise self.error
        return "it is undone"


class Host:
    """One host with its executor and journal."""

    def __init__(self, folder: Path | None = None, **rights: object) -> None:
        self.freeze, self.kill = Recorded(), Recorded()
        self.boot = 1000 * SECOND
        self.rights = replace(
            ActionRights("h", "web-3", frozenset({"freeze", "kill", "isolate"})),
            **rights,  # type: ignore[arg-type]
        )
        self.folder = folder
        self.open()

    def open(self, boot: str = "b") -> None:
        """Start the executor, as after it was killed."""
        self.journal = Journal(self.folder)
        actions = {"freeze": self.freeze, "kill": self.kill}
        own = lambda: frozenset({"0" * 64})  # noqa: E731
        names = {CONTAINER: "db-1", "0" * 64: "lanner"}
        self.executor = Executor(
            self.rights,
            actions,  # type: ignore[arg-type]
            self.journal,
            boot=boot,
            own_containers=own,
            name_of=lambda container_id: names.get(container_id, ""),
        )
        self.executor.start(self.now)

    @property
    def now(self) -> ActionTimes:
        """The present time."""
        return ActionTimes(self.boot, self.boot + 5)

    def intent(
        self, intent: ActionIntent, *, key: Ed25519PrivateKey | None = None, stored: int = BROKER, now: int = BROKER
    ) -> None:
        """Pass on an intent."""
        self._take("intent", intent, key, stored, now)

    def decide(
        self, decision: ActionDecision, *, key: Ed25519PrivateKey | None = None, stored: int = BROKER, now: int = BROKER
    ) -> None:
        """Pass on a decision."""
        self._take("decision", decision, key, stored, now)

    def _take(self, kind: str, record: object, key: Ed25519PrivateKey | None, stored: int, now: int) -> None:
        value = encode_action_record(record)  # type: ignore[arg-type]
        signature = b""
        if key is not None:
            _, value, headers = action_message(record, key)  # type: ignore[arg-type]
            signature = dict(headers)[SIGNATURE]  # type: ignore[assignment]
        self.executor.take(RecordPacket(kind, value, signature, stored, now), self.now)  # type: ignore[arg-type]

    @property
    def results(self) -> list[ActionResult]:
        """What nobody took yet."""
        return [decode_action_record(value, ActionResult) for _, value in self.journal.results(0, 1000)]

    @property
    def last(self) -> tuple[str, str]:
        """Outcome and text of the last result."""
        result = self.results[-1]
        return result.outcome, result.text


def freeze(**changes: object) -> ActionIntent:
    """Return an intent to freeze a container."""
    base = ActionIntent("i", "freeze", "container", "h", "web-3", "do", "container web", BROKER, "p", lease=15 * MINUTE)
    return replace(replace(base, container_id=CONTAINER), **changes)  # type: ignore[arg-type]


def kill(**changes: object) -> ActionIntent:
    """Return an intent to kill a process."""
    base = ActionIntent("k", "kill", "process", "h", "web-3", "do", "process 7 (sh)", BROKER, "p", pid=7, start_time=8)
    return replace(base, **changes)  # type: ignore[arg-type]


def decision(kind: str, by: str = "anna", subject: str = "i", **changes: object) -> ActionDecision:
    """Return a decision of a person."""
    return ActionDecision(f"{kind} {by} {changes}", kind, subject, by, BROKER, **changes)  # type: ignore[arg-type]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """Return a host whose records aren't signed, as with `lanner run`."""
    return Host(tmp_path)


def test_an_intent_is_done_once_however_often_it_comes(host: Host) -> None:
    """A broker delivers records more than once, and an attacker may repeat them, also after a restart."""
    host.intent(freeze())
    host.intent(freeze())
    host.open()
    host.intent(freeze())

    assert host.freeze.calls == ["do i 900"]
    assert [each.outcome for each in host.results] == ["received", "done"]
    assert host.results[-1].ends == host.now.wall + 15 * MINUTE


def test_forged_intents_have_no_effect_and_leave_no_trace(host: Host) -> None:
    """Neither a stranger's, an unsigned one, nor a processor's decision; the genuine one still counts."""
    people = PeopleKeys((("ann", PERSON.public_key()),))
    host.rights = replace(host.rights, processor_keys=(PROCESSOR.public_key(),), people=people)
    host.open()

    for key in (STRANGER, None):
        with pytest.raises(BadPacket, match=r"intent: .*signed"):
            host.intent(freeze(lease=MINUTE), key=key)
    with pytest.raises(BadPacket, match="decision: none of the accepted keys signed it"):
        host.decide(decision("stop", subject=""), key=PROCESSOR)
    assert host.results == []
    host.intent(freeze(), key=PROCESSOR)
    assert host.freeze.calls == ["do i 900"]


def test_two_approvals_are_of_two_persons_whatever_they_state(host: Host) -> None:
    """A key signs for the person after whom its file is named; a console states who decided."""
    console = Ed25519PrivateKey.generate()
    people = PeopleKeys((("ann", PERSON.public_key()),), (console.public_key(),))
    host.rights = replace(host.rights, processor_keys=(PROCESSOR.public_key(),), people=people)
    host.open()
    host.intent(freeze(state="ask", approvals=2), key=PROCESSOR)
    for by, key in (("ann", PERSON), ("bob", PERSON), ("Ann@ops-1", console)):
        host.decide(decision("approve", by), key=key)
    assert host.freeze.calls == []
    host.decide(decision("approve", "bob", comment="again"), key=console)
    assert host.freeze.calls == ["do i 900"]


def test_isolating_a_host_takes_as_many_persons_as_it_demands(host: Host) -> None:
    """Whatever the intent states; one by hand counts as its person's agreement, and a processor makes none by hand."""
    people = PeopleKeys((("ann", PERSON.public_key()),), (STRANGER.public_key(),))
    host.rights = replace(host.rights, processor_keys=(PROCESSOR.public_key(),), people=people, host_approvals=2)
    host.open()
    host.executor._actions = {"isolate": host.freeze}  # type: ignore[dict-item]
    intent = freeze(type="isolate", target="host", by="bob", policy="")
    with pytest.raises(BadPacket, match="none of the accepted keys signed it"):
        host.intent(intent, key=PROCESSOR)
    host.intent(intent, key=PERSON)
    host.decide(decision("approve", "ann"), key=PERSON)
    assert [each.outcome for each in host.results] == ["received"]
    host.decide(decision("approve", "bob"), key=STRANGER)
    assert [each.outcome for each in host.results] == ["received", "done"]


def test_a_signed_intent_needs_keys_to_check_it(host: Host) -> None:
    """A host of a fleet without keys must not take records of the broker for those of its root."""
    with pytest.raises(BadPacket, match="names no key files"):
        host.intent(freeze(), key=STRANGER)
    assert host.freeze.calls == []


@pytest.mark.parametrize(
    ("intent", "reason"),
    [
        (freeze(host_id="other"), "it is for the host other"),
        (freeze(state="would"), "nothing is to be done"),
        (freeze(refusal="the policy is never for it"), "nothing is to be done"),
    ],
)
def test_what_is_not_for_this_host_gets_no_result(host: Host, intent: ActionIntent, reason: str) -> None:
    """A result could make others believe that the host it is for refused it."""
    with pytest.raises(BadPacket, match=reason):
        host.intent(intent)
    assert (host.freeze.calls, host.results) == ([], [])


def test_an_id_of_an_intent_can_not_be_used_for_another(host: Host) -> None:
    """The first one counts."""
    host.intent(freeze())
    with pytest.raises(BadPacket, match="knows another one with this id"):
        host.intent(freeze(container_id="d" * 64))
    assert host.freeze.calls == ["do i 900"]


@pytest.mark.parametrize(
    ("intent", "reason"),
    [
        (freeze(type="isolate"), "this release can't isolate on this host"),
        (replace(freeze(), type="lock", target="user", user="eve", uid=1000), "doesn't name lock"),
        (freeze(text="container web"), "never_containers on this host names db-*"),
        (freeze(container_id="d" * 64), "its name isn't known here, and collector.actions.never_containers"),
        (freeze(container_id="0" * 64), "Lanner runs in it"),
        (kill(pid=1), "it is the first process of the host"),
    ],
)
def test_what_is_disabled_or_protected_is_refused_with_the_reason(
    tmp_path: Path, intent: ActionIntent, reason: str
) -> None:
    """The settings of this host are above what a fleet requests."""
    host = Host(tmp_path, never_containers=("db-*",))
    host.intent(intent)

    assert host.last[0] == "refused"
    assert reason in host.last[1]
    assert host.freeze.calls == host.kill.calls == []


def test_a_late_intent_is_refused_by_the_clock_of_the_broker(host: Host) -> None:
    """This host's clock, which is decades off here, doesn't count; nor does a time in the future."""
    host.intent(freeze(wait=MINUTE), stored=BROKER - 2 * MINUTE)
    assert host.last == ("refused", "it is late: it was stored 2m ago")
    host.intent(freeze(id="j"), stored=BROKER + 60 * MINUTE)
    assert host.last == ("refused", "it was stored in the future, by the broker's clock")
    assert host.freeze.calls == []


def test_an_intent_without_the_time_of_the_broker_waits_for_it(host: Host) -> None:
    """It is only received; what passes it on learns the time when it stores that result."""
    host.intent(freeze(), now=0)
    assert (host.last[0], host.freeze.calls) == ("received", [])
    host.intent(freeze())
    assert host.last[0] == "done"


def test_two_approvals_are_those_of_two_persons(host: Host) -> None:
    """One person who approves twice counts once, and an approval after the time limit doesn't count."""
    host.intent(freeze(state="ask", approvals=2, wait=MINUTE))
    host.decide(decision("approve"))
    host.decide(decision("approve", "Anna ", comment="again"))
    host.decide(decision("approve", "anna", comment="and again"))
    assert host.freeze.calls == []
    host.decide(decision("approve", "bert"))
    assert host.freeze.calls == ["do i 900"]

    host.intent(freeze(id="j", container_id="d" * 64, state="ask", approvals=1, wait=MINUTE))
    host.decide(decision("approve", subject="j"), stored=BROKER + 2 * MINUTE, now=BROKER + 2 * MINUTE)
    assert host.last == ("refused", "it is late: it was stored 2m ago")


def test_decisions_may_come_before_their_intent(host: Host) -> None:
    """Topics have no common order: an approval counts, and so does a rejection or an undo."""
    host.decide(decision("approve"))
    host.intent(freeze(state="ask", approvals=1))
    assert host.freeze.calls == ["do i 900"]
    host.decide(decision("undo", subject="j"))
    host.intent(freeze(id="j", container_id="d" * 64))
    assert host.last == ("refused", "undone before it began by anna")


def test_all_actions_stop_until_somebody_resumes_them_and_undoing_still_works(host: Host) -> None:
    """An older decision that comes later changes nothing; neither does a restart."""
    host.intent(freeze())
    host.decide(decision("stop", subject=""), stored=BROKER + 2)
    host.decide(decision("resume", subject=""), stored=BROKER + 1)
    host.open()
    host.intent(freeze(id="j", container_id="d" * 64))
    assert host.last == ("refused", "anna stopped all actions")
    host.decide(decision("undo"))
    assert host.last == ("undone", "it is undone")
    host.decide(decision("resume", "bert", subject=""), stored=BROKER + 3)
    host.intent(freeze(id="l", container_id="e" * 64))
    assert host.last[0] == "done"


def test_undoing_twice_undoes_once(host: Host) -> None:
    """Also if the lease ends at the same time."""
    host.intent(freeze())
    host.decide(decision("undo"))
    host.decide(decision("undo", "bert"))
    host.boot += 60 * MINUTE
    host.executor.turn(host.now)
    assert host.freeze.calls == ["do i 900", "undo i {'known': 1}"]
    assert [(each.outcome, each.by) for each in host.results[2:]] == [("undone", "anna")]


def test_a_lease_ends_and_can_be_extended_once_by_a_decision(host: Host) -> None:
    """It counts from the decision, by the boot clock, and no longer than this host allows."""
    host.rights = replace(host.rights, max_lease=30 * MINUTE)
    host.open()
    host.intent(freeze(lease=60 * MINUTE))
    assert host.last == ("done", "it is done, for 30m at most")
    host.boot += 20 * MINUTE
    for _ in range(2):
        host.decide(decision("extend", lease=60 * MINUTE), stored=BROKER, now=BROKER + MINUTE)
    assert host.freeze.calls == ["do i 1800", "extend i 1740 {'known': 1}"]
    host.boot += 28 * MINUTE
    assert host.executor.turn(host.now) <= 10 * SECOND
    assert host.last[0] == "extended"
    host.boot += 2 * MINUTE
    host.executor.turn(host.now)
    assert host.last == ("ended", "it is undone")


def test_what_can_not_be_undone_is_tried_again_until_it_can(host: Host) -> None:
    """It is reported once."""
    host.intent(freeze())
    host.freeze.error = OSError(5, "Input/output error")
    for _ in range(3):
        host.boot += 20 * MINUTE
        host.executor.turn(host.now)
    assert [each.text for each in host.results[2:]] == ["not undone, which is tried again: Input/output error"]
    host.freeze.error = TargetGone("the container has ended")
    host.boot += MINUTE
    host.executor.turn(host.now)
    assert host.last == ("ended", "the container has ended")


def test_overdue_leases_end_at_the_start_also_after_the_host_started_again(host: Host) -> None:
    """The boot clock begins again then, and what is left of the lease is computed by the wall clock."""
    host.intent(freeze())
    host.intent(freeze(id="j", container_id="d" * 64, lease=60 * MINUTE))
    host.boot += 20 * MINUTE
    host.open("another boot")
    assert (host.last, host.freeze.calls[2:]) == (("ended", "it is undone"), ["undo i {'known': 1}"])
    host.boot += 39 * MINUTE
    host.executor.turn(host.now)
    assert len(host.freeze.calls) == 3
    host.boot += MINUTE
    host.executor.turn(host.now)
    assert host.freeze.calls[3:] == ["undo j {'known': 1}"]


def test_a_kill_9_while_acting_leads_to_no_second_action_and_the_lease_applies(tmp_path: Path) -> None:
    """The result states that it is unknown whether it was done."""
    if (pid := os.fork()) == 0:
        dying = Host(tmp_path)
        dying.freeze.is_deadly = True
        dying.intent(freeze())
        os._exit(1)
    assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGKILL

    host = Host(tmp_path)
    host.intent(freeze())
    assert host.freeze.calls == []
    assert host.last[0] == "failed"
    assert "so that is unknown; it will be undone as if it was" in host.last[1]
    host.boot += 16 * MINUTE
    host.executor.turn(host.now)
    assert (host.freeze.calls, host.last[0]) == (["undo i {}"], "ended")


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (ActionRefused("two containers claim this id"), "refused"),
        (TargetGone("the container has ended"), "gone"),
        (OSError(28, "No space left on device"), "failed"),
        (KeyError("x"), "failed"),
    ],
)
def test_what_keeps_an_action_from_being_done_is_a_result(host: Host, error: Exception, outcome: str) -> None:
    """Never the end of the process."""
    host.freeze.error = error
    host.intent(freeze())
    assert host.last[0] == outcome
    assert host.last[1]


def test_a_target_is_not_frozen_twice(host: Host) -> None:
    """Otherwise the end of the first action would undo the second one as well."""
    host.intent(freeze())
    host.intent(freeze(id="j"))
    assert host.last == ("refused", "it is frozen already, by i: extend that")


def test_a_rule_that_matches_everything_does_only_so_much_a_minute(host: Host) -> None:
    """Whatever the fuse of a policy allows."""
    for number in range(AT_ONCE + 1):
        host.intent(kill(id=str(number)))
    assert len(host.kill.calls) == AT_ONCE
    assert host.last == ("refused", f"this host did {AT_ONCE} actions within a minute")


def test_a_full_journal_forgets_only_what_could_not_be_begun_again(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a repeated intent would be done a second time."""
    monkeypatch.setattr(journal, "MAX_ACTIONS", 1)
    host.intent(kill())
    with pytest.raises(BadPacket, match="too many actions"):
        host.intent(kill(id="l"))
    two_days = 2 * 24 * 60 * MINUTE
    host.intent(kill(id="l"), stored=BROKER + two_days, now=BROKER + two_days)
    assert host.kill.calls == ["do k 0", "do l 0"]
    monkeypatch.setattr(journal, "MAX_ACTIONS", 2)
    host.intent(kill(), now=BROKER + two_days)
    assert host.last[1].startswith("it is late")
    assert len(host.kill.calls) == 2


def test_results_stay_until_somebody_has_stored_them(host: Host) -> None:
    """Also over a restart."""
    host.intent(kill())
    numbers = tuple(number for number, _ in host.journal.results(0))
    host.open()
    assert len(host.results) == 2
    host.executor.take(TakenPacket(numbers[:1]), host.now)
    assert [each.outcome for each in host.results] == ["done"]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[" * 60_000,
        b'{"kind": "intent"}',
        b'{"kind": "intent", "value": "!", "signature": "", "stored": 1, "now": 1}',
        b'{"kind": "intent", "value": "", "signature": "", "stored": true, "now": 1}',
        b'{"kind": "taken", "results": [1, "2"]}',
        b'{"kind": "shutdown"}',
        b" " * (64 << 10) + b"{}",
    ],
)
def test_what_is_no_packet_is_refused_with_the_reason(data: bytes) -> None:
    """Whatever it contains."""
    with pytest.raises(BadPacket):
        decode_packet(data)
