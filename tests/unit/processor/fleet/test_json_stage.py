import pytest

from bus.messages import BEHIND
from lanner.sources.installed import built_in_source
from processor.detection.budget import BudgetLimits
from processor.detection.stage import DetectStage, compile_ruleset
from processor.fleet.json_stage import JsonStage
from processor.loading import RuleFile, load_rules
from processor.matching.wire import decode_pre_match
from processor.output.internal_alerts import EVENT_REFUSED, EVENT_TRUNCATED, OVER_BUDGET, RULE_FAILED
from processor.sessions.records import decode_session
from tests.unit.lanner.sources.documents import LOCKED
from tests.unit.processor.detection.requests import TIME, exec_request, line, request
from tests.unit.processor.sessions import ssh

RULES = """
- {rule: Get, desc: d, condition: ka.verb = get, output: "%ka.user.name", priority: NOTICE, source: k8s_audit}
"""
POSITION = ("lanner.kubernetes-audit", 3, 17)
NOW = TIME // 1_000_000


def _stage() -> JsonStage:
    return JsonStage(DetectStage(compile_ruleset(load_rules([RuleFile("rules.yaml", RULES)]).rules, {})))


def test_an_event_that_is_delivered_twice_makes_the_same_alert() -> None:
    """The second delivery may come much later: the times within range differ, the ids do not."""
    stage = _stage()
    first, late = (stage.take(line(request()), POSITION, appended) for appended in (NOW, NOW + BEHIND // 500_000))

    assert first.alerts[0].id == late.alerts[0].id
    assert first.alerts[0].time == TIME < late.alerts[0].time
    assert (stage.events, stage.refused) == (2, 0)


@pytest.mark.parametrize("value", [None, b"", b"[]", b"{", b"\xff", b"[" * 100_000, line(request(auditID=1))])
def test_what_is_no_audit_event_becomes_a_dead_letter(value: bytes | None) -> None:
    """Nothing is raised, and the next message is evaluated."""
    stage = _stage()

    result = stage.take(value, POSITION, NOW)
    assert result.refused.startswith("not an audit event: ")
    ((_, message),) = result.pre_matches
    notice = decode_pre_match(message).notice
    assert notice is not None
    assert (notice.kind, notice.numbers) == (EVENT_REFUSED, {"k8s_audit": 1})
    assert len(stage.take(line(request()), POSITION, NOW).alerts) == 1
    assert (stage.events, stage.refused) == (1, 1)


def test_a_message_may_hold_several_events() -> None:
    """One a line; those beside one that can't be read are evaluated."""
    events = [request(auditID="a"), request(auditID="b", stageTimestamp=1, requestReceivedTimestamp=None)]
    value = b"\n".join([line(events[0]), line(events[1]), b"{", line(request(auditID="c"))])
    stage = _stage()
    result = stage.take(value, POSITION, NOW)

    assert [alert.event["ka.auditid"] for alert in result.alerts] == ["a", "c"]
    assert result.refused.startswith("not an audit event: line 2: stageTimestamp is not a valid time: 1; line 3: not ")
    assert (result.events, stage.events, stage.refused) == (2, 2, 2)


def test_a_rule_that_raises_is_reported_once() -> None:
    """The notice goes to the correlate topic, where notices are summed."""
    stage = _stage()
    stage._detect.rules.detector.faults["Get"] = 2
    stage._detect.rules.detector.first_errors["Get"] = "KeyError: x"
    ((_, value),) = stage.take(line(request()), POSITION, NOW).pre_matches
    notice = decode_pre_match(value).notice

    assert notice is not None
    assert (notice.kind, notice.numbers) == (RULE_FAILED, {"Get": 2})
    assert "KeyError: x" in notice.text
    assert not stage.take(line(request()), POSITION, NOW).pre_matches


def test_an_event_without_some_parts_is_reported_with_user_verb_and_object() -> None:
    """The alerts are summed by user, however often the event is delivered."""
    stage = _stage()
    deep = line(request(requestObject="DEEP", impersonatedUser={"username": "eve\x1b"}))
    value = deep.replace(b'"DEEP"', b"[" * 200 + b"]" * 200)
    results = [stage.take(value, POSITION, NOW), stage.take(value, ("other", 1, 1), NOW + 1)]
    assert [[alert.output for alert in result.alerts] for result in results] == [["alice"]] * 2
    (key, value), (again, repeated) = (message for result in results for message in result.pre_matches)
    notice, other = decode_pre_match(value).notice, decode_pre_match(repeated)

    assert notice is not None
    assert notice.kind == EVENT_TRUNCATED
    assert notice.numbers == {"alice as eve\\x1b: get secrets prod/db": 1}
    assert notice.text == (
        "rules saw an event of k8s_audit without some of its parts: nested more than 128 levels deep; "
        "by alice as eve\\x1b: get secrets prod/db"
    )
    assert (key, decode_pre_match(value).origin) == (again, other.origin)


def test_users_that_somebody_invents_do_not_make_alerts_without_limit() -> None:
    """They share a bounded number of sums."""
    stage = _stage()
    keys = set()
    for number in range(300):
        event = request(auditID=str(number), user={"username": f"u{number}"}, requestObject="DEEP")
        value = line(event).replace(b'"DEEP"', b"[" * 200 + b"]" * 200)
        keys |= {key for key, _ in stage.take(value, POSITION, NOW).pre_matches}

    assert 50 < len(keys) <= 64


def test_other_rules_count_their_errors_anew() -> None:
    """A former version's errors are not subtracted from those of the new one."""
    stage = _stage()
    stage._detect.rules.detector.faults["Get"] = 2
    stage.take(line(request()), POSITION, NOW)
    stage._detect.change_rules(_stage()._detect.rules)
    stage.change_rules()
    stage._detect.rules.detector.faults["Get"] = 1

    assert len(stage.take(line(request()), POSITION, NOW).pre_matches) == 1


def test_windows_are_fed_with_audit_events() -> None:
    """The second delivery of an event is the same event to them."""
    correlation = "{type: event_count, timespan: 1m, condition: {gte: 2}}"
    macro = f"- {{macro: many, condition: ka.verb = get, correlation: {correlation}}}"
    text = f"{macro}\n{RULES.replace('ka.verb = get', 'many')}"
    loaded = load_rules([RuleFile("rules.yaml", text)])
    stage = JsonStage(DetectStage(compile_ruleset(loaded.rules, loaded.macros)))

    first, again, other = (
        decode_pre_match(value)
        for event in (request(), request(), request(auditID="other"))
        for _, value in stage.take(line(event), POSITION, NOW).pre_matches
    )

    assert first.feeds
    assert first.candidates
    assert first.origin == again.origin != other.origin
    assert first.appended > first.time == TIME


OKTA_RULE = "- {rule: Lock, desc: d, condition: okta.evt.type exists, output: o, priority: NOTICE, source: okta}\n"


def _okta_stage() -> JsonStage:
    rules = load_rules([RuleFile("rules.yaml", OKTA_RULE)]).rules
    return JsonStage(DetectStage(compile_ruleset(rules, {})), {"okta-log": built_in_source("okta")})


def test_each_topic_has_its_source() -> None:
    """An array is a list of events; what is not valid is a dead letter after the events before it."""
    stage = _okta_stage()

    result = stage.take(line([LOCKED, LOCKED | {"uuid": "u2"}, 1]), ("okta-log", 0, 1), NOW, NOW)

    assert [alert.rule for alert in result.alerts] == ["Lock", "Lock"]
    assert len({alert.id for alert in result.alerts}) == 2
    assert result.refused == "not an event of okta: not a JSON object"
    assert stage.take(line(LOCKED), POSITION, NOW, NOW).refused.startswith("not an audit event")


def test_an_event_without_time_has_that_of_its_message() -> None:
    """It is the same when the message is read again, whatever the clock of the processor."""
    stage = _okta_stage()
    event = line(LOCKED | {"published": None})

    first, again = (stage.take(event, ("okta-log", 0, 1), NOW + late, NOW) for late in (0, 60_000))

    assert first.alerts == again.alerts
    assert first.alerts[0].time // 1_000_000 == NOW


def test_a_request_for_a_command_is_passed_on_to_all_processors() -> None:
    """The one that has the host's partition names the person; other requests are of no interest to it."""
    stage = _stage()
    asked = stage.take(line(exec_request("sh", "-c", "id")), POSITION, NOW)
    ((key, value),) = asked.sessions

    assert key.startswith(b"request/")
    assert decode_session(value).person.command == "sh -c id"
    assert stage.take(line(exec_request("sh", "-c", "id")), POSITION, NOW).sessions == asked.sessions
    assert not stage.take(line(request()), POSITION, NOW).sessions


def test_a_login_by_ssh_is_passed_on_to_all_processors() -> None:
    """Its topic may hold any lines."""
    stage = JsonStage(DetectStage(compile_ruleset((), {})), {"sshd-log": built_in_source("sshd")})
    lines = [line(ssh.logged(text).document) for text in ("Connection closed", ssh.ACCEPTED)]
    refused, accepted = (stage.take(each, ("sshd-log", 0, 1), NOW, NOW) for each in lines)

    assert not refused.sessions
    assert [decode_session(value).person.key for _, value in accepted.sessions] == [ssh.KEY]


def test_the_events_of_a_message_share_a_budget() -> None:
    """A user who fills a message makes no more alerts than the limit; the others of the topic go on."""
    rules = compile_ruleset(load_rules([RuleFile("rules.yaml", OKTA_RULE)]).rules, {})
    limits = BudgetLimits(results=3)
    stage = JsonStage(DetectStage(rules), {"okta-log": built_in_source("okta")}, limits=limits)
    result = stage.take(line([LOCKED | {"uuid": str(n)} for n in range(9)]), ("okta-log", 0, 1), NOW, NOW)
    (notice,) = (decode_pre_match(value).notice for _, value in result.pre_matches)

    assert len(result.alerts) == 3
    assert result.refused == "over budget: it makes more than 3 alerts and matches; 3 events were evaluated"
    assert notice is not None
    assert notice.kind == OVER_BUDGET
    assert "a message of okta cost too much" in notice.text
    assert len(stage.take(line(LOCKED), ("okta-log", 0, 2), NOW, NOW).alerts) == 1
