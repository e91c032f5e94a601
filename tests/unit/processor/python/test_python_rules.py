import itertools

import pytest

from processor.detection.stage import CompiledRuleset, compile_ruleset
from processor.evaluator import Evaluator
from processor.fields.json.documents import read_events
from processor.fleet.message_stage import MessageStage
from processor.loading import RuleFile, load_rules
from processor.matching.wire import decode_pre_match
from processor.output.internal_alerts import RULE_FAILED
from processor.python.limits import PythonLimits
from processor.python.process import FunctionCall, PythonProcess
from processor.rule import RulesetOptions
from schemas.alert import Alert
from schemas.batch import EventBatch
from schemas.encoding.batch import encode_batch
from tests.unit.processor.batches import TIME, batch_of
from tests.unit.processor.detection.requests import line, request

PATIENT = PythonLimits(seconds=10)
"""The machine may be busy."""
YAML = """
- rule: Opened
  desc: d
  condition: evt.type = openat
  output: opened %fd.name
  priority: NOTICE
"""
HEAD = """
from lanner.detections import detect, enrich
"""
DETECT = """
@detect(
    rule="{name}",
    condition="evt.type = openat and fd.name startswith /secret",
    output="%proc.name opened %fd.name",
    priority="Warning",
    tags=["b", "a"],
    fields=["fd.name", "proc.name"],
)
def {function}(event):
    "d"
"""
COUNTING = f"""
{HEAD}
count = 0
{DETECT.format(name="Third", function="third")}
    global count
    count += 1
    if count == 3:
        yield {{"times": count}}
    if event.fd.name.endswith("both"):
        yield "once more"
        yield True

@enrich(rules=["Third", "Open*"])
def folder(event):
    return {{"folder": event["fd.name"].rpartition("/")[0], "seen": count}}
"""


def compiled(*codes: str, limits: PythonLimits | None = PATIENT) -> CompiledRuleset:
    """Compile a rule in YAML and Python files."""
    files = (RuleFile("a.yaml", YAML), *(RuleFile(f"f{index}.py", code) for index, code in enumerate(codes)))
    loaded = load_rules(files)
    assert not loaded.errors, loaded.errors
    options = RulesetOptions(append_container=False, enrichments=loaded.enrichments, python=limits)
    return compile_ruleset(loaded.rules, loaded.macros, options)


def opened(*names: str) -> EventBatch:
    """Return a batch of opened files."""
    return batch_of(*({"type": "openat", "fd_name": name} for name in names))


def shown(alerts: list[Alert]) -> list[tuple[str, str]]:
    """Return what people see of alerts."""
    return [(alert.rule, alert.output) for alert in alerts]


def test_a_function_decides_about_the_events_of_its_condition() -> None:
    """It remembers those before, over batches, and each alert has an id of its own; other rules see the same events."""
    evaluator = Evaluator(compiled(COUNTING))
    first = evaluator.process(opened("/secret/1", "/else", "/secret/2"))
    second = evaluator.process(opened("/secret/both"))

    assert shown(first) == [("Opened", "opened /secret/1"), ("Opened", "opened /else"), ("Opened", "opened /secret/2")]
    assert shown(second) == [
        ("Opened", "opened /secret/both"),
        *(("Third", f"systemd opened /secret/both{end}") for end in (" times=3", " once more", "")),
    ]
    assert len({alert.id for alert in second}) == 4
    third = second[1]
    assert (third.priority, third.tags, third.description) == ("Warning", ("a", "b"), "d")
    assert third.output_fields["times"] == 3


def test_functions_add_output_fields_to_the_alerts_of_rules() -> None:
    """The rules are in YAML and in Python alike; functions see what the alert has."""
    alerts = Evaluator(compiled(COUNTING)).process(opened("/secret/1", "/else/2"))

    assert [alert.output_fields.get("folder") for alert in alerts] == ["/secret", "/else"]


def test_what_is_evaluated_early_includes_the_conditions_of_functions() -> None:
    """The kernel and collectors may only leave out what no function is called for."""
    rules = compiled(COUNTING)

    assert len(rules.conditions) == 2
    assert rules.event_types == {"openat"}
    assert ("Third", "Warning", "syscall") in rules.active


FAULTS = {
    "[bytes(1000) for _ in iter(int, 1)]": "MemoryError",
    "'x' * (1 << 30)": "MemoryError",
    "[__import__('os').fork() for _ in iter(int, 1)]": "Operation not permitted",
    "__import__('os').execv('/bin/sh', ['sh'])": "Operation not permitted",
    "__import__('os').kill(1, 9)": "Operation not permitted",
    "__import__('signal').signal(14, print)": "Operation not permitted",
    "__import__('resource').setrlimit(9, (-1, -1))": "ValueError",
    "__import__('_thread').start_new_thread(print, ())": "can't start new thread",
    "open('/etc/shadow')": "Operation not permitted: '/etc/shadow' (f.py:2)",
    "open('/proc/self/environ')": "Operation not permitted",
    "__import__('_socket').socket()": "Error: ",
    "print('{}')": "a rule file can't print",
    "__import__('sys').exit(1)": "SystemExit: 1",
    "'x' * 10_000_000": "it returns a text of 10,000,000 characters; the limit is 4,000",
    "iter(int, 1)": "it yields int: yield True, a text, or a dict",
    "iter(str, 1)": "it yields more than 10 alerts for one event",
    "{'fd.name': 'x'}": "output field 'fd.name': a name has lower-case letters",
    "{'x': float('nan')}": "output field 'x' is not a number",
    "{'x': 1 << 70}": "output field 'x' has more than 64 bits",
    "'\\ud800'": "it returns a text that is not Unicode",
    "event.proc.name": "proc is not declared: add it to fields=[...]",
    "'\\x1b[2J' + 1": "can only concatenate str",
}


def test_what_a_function_may_not_do_is_a_fault() -> None:
    """The message states what is wrong and where; the next event is evaluated as if nothing had happened."""
    code = "def f(event):\n    return eval(event.fd.name)\n"
    process = PythonProcess("f.py", code, [("f", ["fd.name"])], PythonLimits(seconds=20, memory=128 << 20))
    faults = dict(process.ask([FunctionCall(0, [text]) for text in FAULTS]).faults)
    process.close()

    assert [
        (text, expected)
        for index, (text, expected) in enumerate(FAULTS.items())
        if expected not in faults.get(index, "")
    ] == []
    assert process.failures == 0


@pytest.mark.parametrize("text", ["[0 for _ in iter(int, 1)]", "__import__('time').sleep(1000)"])
def test_a_function_that_takes_too_long_is_ended(text: str) -> None:
    """It holds up a processor for the time that the settings allow, and no longer."""
    code = "def f(event):\n    return eval(event.fd.name)\n"
    process = PythonProcess("f.py", code, [("f", ["fd.name"])], PythonLimits(seconds=1))
    answer = process.ask([FunctionCall(0, [text])] * 2)
    process.close()

    assert answer.faults == [(n, "it took more than 1 s for the events of a batch, and was ended") for n in range(2)]


ENDINGS = {
    "__import__('os')._exit(7)": "its process ended by itself, with status 7",
    "__import__('ctypes').string_at(0)": "its process was ended by SIGSEGV",
    "__import__('os').write(4, b'00000000')": "its process sent something else than a response",
    "__import__('os').write(4, bytes((0, 0, 4, 0)) + b'[' * 1024)": "its process sent something else than a response",
    "import json; json.dumps = lambda _: '{}'": "its process sent something else than a response",
}


@pytest.mark.parametrize("body", ENDINGS)
def test_a_function_that_ends_its_process_harms_no_other_file(body: str) -> None:
    """An internal alert reports it, and the rules of other files find what they would without it."""
    bad = f"{HEAD}{DETECT.format(name='Bad', function='bad')}\n    {body}\n"
    good = f"{HEAD}{DETECT.format(name='Good', function='good')}\n    return True\n"
    evaluator = Evaluator(compiled(bad, good))
    batch = opened("/secret/1")
    found = evaluator.process(batch)
    (reported,) = evaluator.report(batch, 1)

    assert [alert.rule for alert in found] == ["Opened", "Good"]
    assert reported.rule == RULE_FAILED
    assert f"the first error of 'Bad': {ENDINGS[body]}" in reported.output


def test_the_stage_of_a_fleet_sends_what_functions_find_and_what_they_fail_at() -> None:
    """The message is acknowledged all the same: it is not refused."""
    bad = f"{HEAD}{DETECT.format(name='Bad', function='bad')}\n    __import__('os')._exit(7)\n"
    outcome = MessageStage(compiled(bad, COUNTING), clock=lambda: 0.0).take(
        0, encode_batch(opened("/secret/1", "/secret/2", "/secret/3")), TIME // 1_000_000
    )
    notices = [each.notice for _, value in outcome.pre_matches if (each := decode_pre_match(value)).notice is not None]

    assert outcome.refused == ""
    assert [alert.rule for alert in outcome.alerts] == ["Opened"] * 3 + ["Third"]
    assert outcome.alerts[-1].output_fields["folder"] == "/secret"
    (failed,) = (each for each in notices if each is not None and each.kind == RULE_FAILED)
    assert dict(failed.numbers) == {"Bad": 3}
    assert "status 7" in failed.text


def test_a_process_that_failed_is_started_again_after_a_while() -> None:
    """Until then its events are counted as faults, and the wait grows; what it remembered is lost."""
    now = 0.0
    code = "def f(event):\n    return str(eval(event.fd.name))\n"
    process = PythonProcess("f.py", code, [("f", ["fd.name"])], PATIENT, clock=lambda: now)

    def ask(text: str) -> str:
        answer = process.ask([FunctionCall(0, [text])])
        return answer.results[0][1] if answer.results else answer.faults[0][1]

    assert ask("1 + 1") == "2"
    assert "status 3" in ask("__import__('os')._exit(3)")
    assert "not called after an error, for 1 s more: its process ended" in ask("1 + 1")
    now = 1.0
    assert "status 4" in ask("__import__('os')._exit(4)")
    now = 2.0
    assert "for 3 s more" in ask("1 + 1")
    now = 5.0
    assert ask("1 + 1") == "2"
    assert (process.starts, process.failures) == (3, 2)
    process.close()


def test_a_slow_file_does_not_take_all_of_a_processors_time() -> None:
    """Beyond half of it, events are counted as faults; where nobody waits, as in replay, all are evaluated."""
    # Each request takes six seconds, and the next one comes two seconds later.
    clock = itertools.accumulate(itertools.cycle((6, 2))).__next__
    process = PythonProcess("f.py", "def f(event):\n    return True\n", [("f", [])], PATIENT, clock=clock)
    calls = [FunctionCall(0, [])]
    limited = [len(process.ask(calls, has_deadline=True).results) for _ in range(8)]
    unlimited = [len(process.ask(calls).results) for _ in range(8)]
    process.close()

    assert limited[:5] == [1] * 5
    assert 0 in limited
    assert unlimited == [1] * 8


def test_functions_get_json_events_too() -> None:
    """Conditions and fields are those of the rule's source."""
    code = (
        HEAD
        + """
@detect(rule="J", desc="d", condition="ka.verb = get", output="o", priority="Notice", source="k8s_audit",
        fields=["ka.verb"])
def j(event):
    return event.ka.verb
"""
    )
    (event,) = read_events(line(request()))
    (alert,) = Evaluator(compiled(code)).process(event)

    assert (alert.rule, alert.output) == ("J", "o get")


def test_large_batches_are_split_and_small_ones_are_one_request() -> None:
    """Neither side takes a message without limits; an event that is larger than all is left out and counted."""
    process = PythonProcess("f.py", "def f(event):\n    return event.x[:10]\n", [("f", ["x"])], PATIENT)
    calls = [FunctionCall(0, ["a" * 300_000])] * 8 + [FunctionCall(0, ["b" * 3_000_000])] + [FunctionCall(0, ["c"])]
    answer = process.ask(calls)
    process.close()

    assert [position for position, _, _ in answer.results] == [*range(8), 9]
    assert answer.faults == [(8, "an event has more than 1,048,576 bytes")]


def test_published_code_is_not_run_for_a_look() -> None:
    """Whoever only compares versions starts no process."""
    rules = compiled(COUNTING, limits=None)
    Evaluator(rules).process(opened("/secret/1"))

    assert rules.python is not None
    assert [process.starts for process in rules.python.processes] == [0]
    assert "not called here" in rules.first_errors()["Third"]
