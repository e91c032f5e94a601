import dataclasses
from array import array
from typing import Any

from bus.messages import AHEAD
from processor.correlation.correlator import Correlator
from processor.detection.budget import Budget, BudgetLimits
from processor.detection.detector import Detector
from processor.detection.repeats import MessageRepeats
from processor.detection.stage import CompiledRuleset, compile_ruleset
from processor.detection.view import EventView
from processor.fleet.message_stage import MessageResult, MessageStage
from processor.hosts.arrival import CLOCK_SKEW
from processor.hosts.identity import NOT_VERIFIED, RejectedMessage
from processor.hosts.liveness import HOST_BACK, HOST_SILENT
from processor.hosts.tracked import TrackedHosts
from processor.language.parser import parse
from processor.matching.wire import decode_pre_match
from processor.output.internal_alerts import DUPLICATE_HOST_ID, EVENTS_LOST, OVER_BUDGET, RULE_FAILED, TOO_MANY_HOSTS
from processor.rule import RulesetOptions
from processor.sessions.records import encode_session, session_record
from processor.sessions.sessions import People
from processor.splitting import Plan
from schemas.alert import Alert, encode_alert
from schemas.batch import Process
from schemas.encoding.batch import decode_batch, encode_batch
from schemas.encoding.columns import COLUMNS
from tests.unit.processor.batches import TIME, batch_of
from tests.unit.processor.plain_rules import DetectionRule
from tests.unit.processor.sessions import shells

SHADOW = DetectionRule("Shadow", parse("evt.type = openat and fd.name = /etc/shadow"), "read %fd.name")
NOW = TIME // 1_000_000
READ = {"type": "openat", "fd_name": "/etc/shadow"}


def stage_of(*rules: DetectionRule) -> MessageStage:
    """Return a stage whose clock stands still."""
    return MessageStage(_ruleset(*rules), clock=lambda: 0.0)


def _ruleset(*rules: DetectionRule) -> CompiledRuleset:
    return compile_ruleset(rules or (SHADOW,), {}, RulesetOptions(append_container=False))


def noticed(*outcomes: MessageResult) -> list[Alert]:
    """Return the correlate stage's alerts about a batch's notices, each as if it were the first."""
    found: list[Alert] = []
    for outcome in outcomes:
        sent = [decode_pre_match(value) for _, value in outcome.pre_matches]
        notices = [each for each in sent if each.notice is not None]
        found += Correlator(Plan((), ())).process(notices, TIME)
    return found


def test_a_batch_becomes_its_alerts() -> None:
    """As bytes, in order, and what it holds is counted."""
    outcome = stage_of().take(0, encode_batch(batch_of(READ, {"type": "openat", "fd_name": "/etc/hosts"}, READ)), NOW)
    assert [alert.output for alert in outcome.alerts] == ["read /etc/shadow"] * 2
    assert (outcome.refused, outcome.events) == ("", 3)


def test_the_same_bytes_make_the_same_alerts() -> None:
    """Whoever takes a message over makes nothing new of it."""
    value = encode_batch(batch_of(READ))
    assert stage_of().take(0, value, NOW).alerts == stage_of().take(5, value, NOW).alerts


def test_what_cannot_be_decoded_is_refused_with_a_reason() -> None:
    """Nothing that comes from a host can make the stage raise."""
    whole = encode_batch(batch_of(READ))
    for value in (None, b"", b"\x00", whole[:-1], whole[:10], whole[:200] + b"\xff" * 50 + whole[250:]):
        outcome = stage_of().take(0, value, NOW)
        assert outcome.refused.startswith("not ")
        assert outcome.alerts == ()


def test_an_evaluator_that_raises_costs_its_message_and_no_other() -> None:
    """The message goes to the dead letters with what was raised."""

    class Raises(Detector):
        def process(
            self,
            view: EventView,
            budget: Budget | None = None,  # noqa: ARG002  it comes to nothing
            repeats: MessageRepeats | None = None,  # noqa: ARG002
            people: People | None = None,  # noqa: ARG002
        ) -> list[Alert]:
            raise KeyError(view.count)

    rules = dataclasses.replace(_ruleset(), detector=Raises(()))
    outcome = MessageStage(rules, clock=lambda: 0.0).take(0, encode_batch(batch_of(READ)), NOW)
    assert outcome.refused == "evaluation failed: KeyError: 1"


def test_losses_gaps_and_twins_are_reported() -> None:
    """Each as an internal alert of the host that it is about."""
    stage = stage_of()
    stage.take(0, encode_batch(batch_of(READ)), NOW)
    lossy = batch_of(READ, sequence=10)
    lossy.lost = {"events_ring_full": 4}
    (reported,) = noticed(stage.take(0, encode_batch(lossy), NOW))
    assert reported.rule == EVENTS_LOST
    assert reported.output_fields == {"batches_missing": 2, "events_ring_full": 4, "evt.hostname": "web-3"}
    stage.take(0, encode_batch(batch_of(READ, sequence=1, boot_id="boot-2", collector_start=2)), NOW)
    found = noticed(stage.take(0, encode_batch(batch_of(READ, sequence=11)), NOW))
    assert [each.rule for each in found] == [DUPLICATE_HOST_ID]


def test_a_rule_that_raises_is_reported_once() -> None:
    """Its name is in the internal alert, and the batch is evaluated all the same."""
    broken = DetectionRule("Broken", parse("evt.type = openat and proc.cmdlenargs > 1"), "never")
    stage = stage_of(broken)
    odd = batch_of(READ, processes=[Process(pid=1, args=("x",))])
    value = encode_batch(odd)
    decoded = dataclasses.replace(odd, processes=[Process(pid=1, args=(1,))])  # type: ignore[arg-type]
    stage._decode = lambda _: decoded
    outcome = stage.take(0, value, NOW)
    (reported,) = noticed(outcome)
    assert reported.rule == RULE_FAILED
    assert reported.output == (
        "rules raised errors and were skipped for those events; the first error of 'Broken': "
        "AttributeError: 'int' object has no attribute 'isascii' | Broken: 1"
    )
    assert noticed(stage.take(0, value, NOW))[0].output_fields["Broken"] == 1


def test_what_was_evaluated_before_proves_a_gap_at_the_change_of_owners() -> None:
    """The newest batches before the committed position are read for their numbers alone."""
    stage = stage_of()
    stage.recall(3, encode_batch(batch_of(READ)), NOW)
    outcome = stage.take(3, encode_batch(batch_of(READ, sequence=9)), NOW)
    assert [each.output_fields.get("batches_missing") for each in noticed(outcome)] == [1]


def test_a_host_that_was_quiet_at_the_change_of_owners_has_its_gap_and_its_return() -> None:
    """The record of the former owner stands for batches that are too far back to be read."""
    before, after = stage_of(), stage_of()
    before.take(3, encode_batch(batch_of(READ)), NOW)
    ((since, hosts),) = before.liveness.quiet({3: NOW + 30_000}).values()
    after.recall_quiet(3, hosts)
    after.liveness.recalled(3, since)
    ends = [each.take(3, encode_batch(batch_of(READ, sequence=9)), NOW + 200_000) for each in (before, after)]
    assert [[alert.id for alert in end.alerts] for end in ends] == [[alert.id for alert in ends[0].alerts]] * 2
    assert {HOST_SILENT, HOST_BACK} < {alert.rule for alert in ends[1].alerts}
    assert [each.output_fields.get("batches_missing") for each in noticed(ends[1])] == [1]


def test_other_rules_are_evaluated_by_from_the_next_batch_on() -> None:
    """Numbers of hosts and what was counted stay; faults are those of the new rules."""
    stage = stage_of()
    stage.take(0, encode_batch(batch_of(READ, sequence=1)), NOW)
    stage.change_rules(_ruleset(dataclasses.replace(SHADOW, name="Other", output="other")), decode=decode_batch)
    outcome = stage.take(0, encode_batch(batch_of(READ, sequence=2)), NOW)
    assert [(alert.rule, alert.output) for alert in outcome.alerts] == [("Other", "other")]
    assert stage.evaluation.events == 2


def _many(count: int, fd_name: str = "/etc/shadow", **head: Any) -> bytes:
    """Encode a batch of so many equal events."""
    batch = batch_of({**READ, "fd_name": fd_name}, **head)
    columns: dict[str, Any] = {name: array(COLUMNS[name], column) * count for name, column in batch.columns.items()}
    columns["arg_start"] = array("I", [0]) * (count + 1)
    return encode_batch(dataclasses.replace(batch, count=count, columns=columns))


def _limited(limits: BudgetLimits, *rules: DetectionRule) -> MessageStage:
    return MessageStage(_ruleset(*rules), clock=lambda: 0.0, limits=limits)


def test_a_batch_that_makes_more_than_one_may_is_cut_off_and_reported() -> None:
    """What it made before stands, the message becomes a dead letter, and the next one is evaluated as ever."""
    stage = _limited(BudgetLimits(results=100))
    outcome = stage.take(0, _many(1000), NOW)
    alerts = [alert for alert in outcome.alerts if alert.source != "internal"]
    (reported,) = noticed(outcome)
    assert len(alerts) == 100
    assert outcome.refused == "over budget: it makes more than 100 alerts and matches; 64 of 1000 events were evaluated"
    assert reported.rule == OVER_BUDGET
    assert reported.output_fields["events_not_evaluated"] == 936
    assert stage.take(0, _many(1000), NOW).alerts[:100] == tuple(alerts)
    assert stage.take(0, _many(5, sequence=8), NOW).refused == ""


def test_a_batch_that_takes_too_long_is_cut_off_and_reported() -> None:
    """By processor time, which a process that hung does not spend."""
    stage = _limited(BudgetLimits(seconds=0.0))
    outcome = stage.take(0, _many(1000), NOW)
    assert outcome.refused.startswith("over budget: evaluating it took more than 0 s; ")
    assert [alert.rule for alert in noticed(outcome)] == [OVER_BUDGET]


def test_alerts_go_out_in_short_once_a_batch_has_made_many_bytes() -> None:
    """So none is missing, whoever fills the batch; that it happens is reported."""
    rule = dataclasses.replace(SHADOW, condition=parse("evt.type = openat"))
    outcome = _limited(BudgetLimits(whole_characters=100_000), rule).take(0, _many(500, "/" + "A" * 4000), NOW)
    alerts = [alert for alert in outcome.alerts if alert.source != "internal"]
    (reported,) = noticed(outcome)
    whole = [alert for alert in alerts if "fd.name" in alert.event]
    assert outcome.refused == ""
    assert len(alerts) == 500
    assert 0 < len(whole) < 10
    assert alerts[-1].output == "read /" + "A" * 955 + " [truncated, 3045 more bytes]"
    assert alerts[-1].event["evt.type"] == "openat"
    assert reported.output_fields["alerts_shortened"] == 500 - len(whole)


def test_a_small_message_cannot_stand_for_much_memory() -> None:
    """Alerts by the thousand, each with a text that the message holds once, take a bounded number of bytes."""
    rule = DetectionRule("All", parse("evt.type = openat"), "%fd.name %fd.nameraw %proc.cmdline")
    outcome = MessageStage(compile_ruleset((rule,), {}), clock=lambda: 0.0).take(
        0, _many(4_900, "/" + "A" * 200_000), NOW
    )
    assert len(outcome.alerts) == 4_900
    assert max(len(encode_alert(alert)) for alert in outcome.alerts) <= 1 << 20
    assert sum(len(encode_alert(alert)) for alert in outcome.alerts) < 40 << 20


MINUTE = 60_000


def test_made_up_host_ids_hide_no_silence_and_no_gap() -> None:
    """A host that was known for a while stays known; evicted ids are counted and reported."""
    stage = MessageStage(_ruleset(), clock=lambda: 0.0, hosts=TrackedHosts(most_established=50, most_new=100))
    for sequence in range(1, 7):
        stage.take(0, encode_batch(batch_of(READ, host_id="victim", sequence=sequence)), NOW + sequence * 15_000)
    start = NOW + 2 * MINUTE

    reported = []
    for number in range(1000):
        flood = encode_batch(batch_of(READ, host_id=f"made-up-{number}", sequence=1))
        reported += noticed(stage.take(0, flood, start + number))

    assert [alert.rule for alert in reported] == [TOO_MANY_HOSTS] * len(reported)
    assert 1 <= len(reported) <= 2
    assert stage.hosts_dropped == 900
    assert len(stage.hosts) == 101
    assert "victim" in [alert.host_id for alert in stage.liveness.due([0], start + 10 * MINUTE)]
    gap = noticed(stage.take(0, encode_batch(batch_of(READ, host_id="victim", sequence=500)), start + MINUTE))[-1]
    assert gap.output_fields["batches_missing"] == 493


def test_what_a_newcomer_sends_is_marked_as_such() -> None:
    """The correlate stage keeps its groups apart from those of known hosts."""
    seen: list[bool] = []

    stage = stage_of()
    stage.evaluation.add_observer(lambda batch: seen.append(batch.is_established))
    for at in (0, MINUTE):
        stage.take(0, encode_batch(batch_of(READ)), NOW + at)
    assert seen == [False, True]


def test_the_time_by_which_hosts_are_silent_is_the_brokers() -> None:
    """The clock of the processor's machine has no effect."""
    stage = stage_of()
    assert stage.broker_time() is None
    stage.take(0, encode_batch(batch_of(READ)), NOW)
    assert stage.broker_time() == NOW


def test_an_event_of_the_future_is_evaluated_and_reported() -> None:
    """With the latest time that it can have."""
    stage = stage_of()
    outcome = stage.take(0, encode_batch(batch_of({**READ, "time": TIME + 10**18})), NOW)
    assert [alert.output for alert in outcome.alerts] == ["read /etc/shadow"]
    assert outcome.alerts[0].time <= TIME + AHEAD + 1_000_000
    (reported,) = noticed(outcome)
    assert (reported.rule, reported.output_fields["events_redated"]) == (CLOCK_SKEW, 1)
    assert stage.redated == 1


def test_what_a_host_once_sent_is_no_sign_of_life() -> None:
    """Sent again by whoever has it, it gives the same alerts, and its host is silent all the same."""
    stage = stage_of()
    first = encode_batch(batch_of(READ, sequence=1))
    made = stage.take(0, first, NOW).alerts
    stage.take(0, encode_batch(batch_of(READ, sequence=2)), NOW + 1000)
    for seconds in range(15, 300, 15):
        repeated = stage.take(0, first, NOW + seconds * 1000)
        assert [alert.id for alert in repeated.alerts] == [alert.id for alert in made]
    assert [alert.rule for alert in stage.liveness.due([0], NOW + 5 * MINUTE)] == [HOST_SILENT]


def test_a_batch_that_is_not_of_its_host_makes_nothing() -> None:
    """No alert, no count, no trace of a host: only the reason, which becomes a notice and a dead letter."""
    stage = stage_of()
    why = RejectedMessage("web-1", "signed by another", "other_id", is_known=True)
    outcome = stage.take(0, encode_batch(batch_of(READ)), NOW, check_host=lambda _: why)
    assert (outcome.rejected, outcome.alerts, outcome.pre_matches) == (why, (), ())
    assert (stage.evaluation.events, len(stage.hosts), stage.liveness.due([0], NOW + 10 * MINUTE)) == (0, 0, [])
    rejected = stage.reject(why, ("t.events", 0, 9), NOW)
    assert rejected.refused == "not verified: signed by another"
    (reported,) = noticed(rejected)
    assert (reported.rule, reported.host_id, reported.output_fields["batches"]) == (NOT_VERIFIED, "web-1", 1)
    (repeated,) = noticed(stage.reject(why, ("t.events", 0, 9), NOW))
    assert repeated.id == reported.id


def person_of(result: MessageResult) -> Any:
    """Return who is named in the only alert of a message."""
    (alert,) = result.alerts
    return alert.output_fields.get("session.user")


def test_the_process_of_a_request_is_passed_on_with_the_alerts_of_its_batch() -> None:
    """So another processor names the person in what the process does later, and gives the request to no other."""
    rules = [DetectionRule("Act", parse("proc.name in (sh, cat)"), "%proc.name")]
    now = shells.START // 1_000_000 + 2000
    first, second = stage_of(*rules), stage_of(*rules)
    asked = encode_session(session_record(shells.requested(0)))
    for stage in (first, second):
        stage.sessions.put(*asked)
    started = first.take(0, encode_batch(shells.started(1)), now)
    for record in started.sessions:
        second.sessions.put(*record)

    assert person_of(started) == "eve"
    assert [key for key, _ in started.sessions] == [b"process/host-1/10/%d" % (shells.START + 10)]
    assert person_of(second.take(0, encode_batch(shells.started(60, depth=2)), now + 60_000)) == "eve"
    assert person_of(second.take(0, encode_batch(shells.started(2, pid=11)), now)) is None
    assert not first.take(0, encode_batch(shells.started(1)), now).sessions


def test_starts_that_another_processor_saw_are_joined_after_it_died() -> None:
    """The new owner of a partition reads its newest messages again; the audit event may come even later."""
    stage = stage_of(DetectionRule("Act", parse("proc.name = sh"), "%proc.name"))
    now = shells.START // 1_000_000 + 2000
    stage.recall(0, encode_batch(shells.started(1)), now)
    stage.sessions.put(*encode_session(session_record(shells.requested(3))))
    later = stage.take(0, encode_batch(shells.started(60, depth=2)), now + 60_000)

    assert person_of(later) == "eve"
    assert len(later.sessions) == 1
