"""Alerts on JSON events that repeat others are counted and summed, as those on system calls, and none hides another."""

import json
from typing import Any

from processor.correlation.correlator import Correlator
from processor.detection.repeats import RepeatedAlerts, RepeatLimits
from processor.detection.stage import CompiledRuleset, DetectStage, compile_ruleset
from processor.evaluator import Evaluator
from processor.fields.json.documents import read_events
from processor.fleet.json_stage import JsonStage
from processor.fleet.message_stage import MessageResult
from processor.loading import RuleFile, load_rules
from processor.matching.wire import decode_pre_match
from processor.output.redaction import Redaction
from processor.rule import RulesetOptions
from processor.sessions.sessions import Sessions
from schemas.alert import Alert
from tests.unit.processor.detection.requests import TIME, line, request

RULES = """
- {rule: Get, desc: d, condition: ka.verb = get, output: "%ka.user.name gets %ka.target.resource", priority: NOTICE,
   source: k8s_audit}
"""
LIMITS = RepeatLimits(identical_of_process=3, identical=6, of_process=5)
TOPIC = "lanner.kubernetes-audit"


def _rules() -> CompiledRuleset:
    return compile_ruleset(
        load_rules([RuleFile("rules.yaml", RULES)]).rules, {}, RulesetOptions(redact=Redaction().alert)
    )


def _secrets(*names: str, user: str = "alice", **changes: Any) -> list[dict[str, Any]]:
    """Return requests to read secrets; each has an id of its own."""
    return [
        request(
            auditID=f"{user}-{number}",
            user={"username": user},
            objectRef={"resource": "secrets", "namespace": "prod", "name": name},
            **changes,
        )
        for number, name in enumerate(names)
    ]


class Host:
    """Both stages, as `lanner run` has them."""

    def __init__(self) -> None:
        """Begin."""
        self._both = Evaluator(_rules(), RepeatedAlerts(LIMITS), Sessions())

    def take(self, events: list[dict[str, Any]]) -> list[Alert]:
        """Evaluate events."""
        documents = [document for each in events for document in read_events(line(each))]
        return [alert for each in documents for alert in self._both.process(each, TIME)]

    def finish(self) -> list[Alert]:
        """End all periods."""
        return self._both.correlator.finish()


def _processor() -> JsonStage:
    """Return the stage of a processor that has just started."""
    return JsonStage(DetectStage(_rules(), RepeatedAlerts(LIMITS)))


def _message(events: list[dict[str, Any]]) -> bytes:
    return b"".join(map(line, events))


def _take(stage: JsonStage, events: list[dict[str, Any]], offset: int = 1) -> MessageResult:
    return stage.take(_message(events), (TOPIC, 0, offset), TIME // 1_000_000)


def test_what_a_user_repeats_becomes_one_summary_and_hides_no_other_user() -> None:
    """Three alerts are sent; the summary counts the others and has the first one's id."""
    host = Host()
    sent = host.take(_secrets(*["db"] * 20))
    other = host.take(_secrets("db", user="bob"))
    (summary,) = host.finish()

    assert [alert.output for alert in (*sent, *other)] == ["alice gets secrets"] * 3 + ["bob gets secrets"]
    assert summary.output == "REPEATED 17 more times in 1m: alice gets secrets"
    assert summary.repeats is not None
    assert summary.repeats.first_id == sent[0].id
    assert summary.output_fields["session.user"] == "alice"


def test_decoys_hide_neither_another_object_nor_another_address() -> None:
    """Five of any kind are sent; the summary lists what the others read, and from where, secrets masked."""
    host = Host()
    sent = host.take(_secrets(*(f"decoy-{number}" for number in range(9))))
    late = host.take(_secrets("key", sourceIPs=["203.0.113.9"], requestURI="/api?token=hunter2"))
    (summary,) = host.finish()

    assert (len(sent), len(late)) == (5, 0)
    assert summary.output_fields["ka.target.name"] == ("decoy-5", "decoy-6", "decoy-7", "decoy-8", "key")
    assert "203.0.113.9" in summary.output_fields["ka.sourceips"]
    assert "/api?token=[redacted]" in summary.output_fields["ka.uri"]
    assert "hunter2" not in json.dumps([summary.output, summary.output_fields, summary.event])
    assert "ka.auditid" not in summary.output_fields


def test_the_same_act_from_another_address_is_sent() -> None:
    """A stolen token doesn't hide behind its owner's requests."""
    host = Host()
    host.take(_secrets(*["db"] * 20))

    assert len(host.take(_secrets("db", sourceIPs=["203.0.113.9"]))) == 1


def test_a_message_makes_one_count_for_each_summary() -> None:
    """However many events it has; the events of the next message are added."""
    stage, correlator = _processor(), Correlator(_rules().plan)
    for offset in (1, 2):
        result = _take(stage, _secrets(*["db"] * 20), offset)
        ((_, value),) = result.pre_matches
        correlator.process([decode_pre_match(value)], TIME)
        assert len(result.alerts) == (3 if offset == 1 else 0)

    assert [alert.repeats and alert.repeats.count for alert in correlator.finish()] == [37]


def test_a_message_that_another_processor_evaluates_again_is_counted_once() -> None:
    """It is known by topic, partition and offset; the alerts have the same ids."""
    correlator = Correlator(_rules().plan)
    results = [_take(_processor(), _secrets(*["db"] * 20)) for _ in range(2)]
    for result in results:
        correlator.process([decode_pre_match(value) for _, value in result.pre_matches], TIME)

    assert results[0].alerts == results[1].alerts
    assert [alert.repeats and alert.repeats.count for alert in correlator.finish()] == [17]
    assert correlator.counts["duplicate"] == 1


def test_what_was_counted_before_a_message_fails_is_in_the_summary() -> None:
    """The rest of the message is a dead letter."""
    value = _message(_secrets(*["db"] * 9)) + b"{\n"
    result = _processor().take(value, (TOPIC, 0, 1), TIME // 1_000_000)
    repeated = [found for _, each in result.pre_matches if (found := decode_pre_match(each).repeated) is not None]

    assert result.refused
    assert [each.count for each in repeated] == [6]


def test_an_alert_on_a_json_event_names_the_user_as_one_on_a_system_call_names_a_person() -> None:
    """With groups and addresses; of an impersonation, it is who impersonates."""
    (alert,) = Host().take([request(impersonatedUser={"username": "root"})])

    assert alert.output == "alice gets secrets"
    assert {name: value for name, value in alert.output_fields.items() if name.startswith("session.")} == {
        "session.user": "alice",
        "session.groups": ("dev", "system:authenticated"),
        "session.sourceips": ("192.0.2.7", "192.0.2.1"),
    }
