import dataclasses
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.detection.detector import Detector
from processor.detection.stage import CompiledRuleset, compile_ruleset
from processor.detection.view import BatchView
from processor.evaluator import Evaluator
from processor.loading import RuleFile, load_rules
from processor.output.redaction import DEFAULT_PATTERNS, BadPattern, Redact, Redaction, unredacted
from processor.rule import RulesetOptions
from schemas.alert import Alert, decode_alert, encode_alert
from schemas.batch import EventBatch, Process
from tests.unit.processor.batches import INIT, TIME, batch_of

_SEARCHES_ALWAYS = Redaction(DEFAULT_PATTERNS)
SHELL = Process(pid=5, ppid=1, name="sh", exe="sh", args=("-c", "mysql --password=hunter2"), parent=0)
MYSQL = Process(pid=7, ppid=5, name="mysql", exe="mysql", args=("--password=hunter2", "-h", "db"), parent=1)
RULES = """
- rule: Client
  desc: d
  condition: evt.type = execve and proc.cmdline contains hunter2
  output: "%proc.cmdline by %proc.pcmdline on %proc.args"
  priority: NOTICE
- macro: client
  condition: evt.type = execve and proc.args contains hunter
- macro: clients
  condition: client
  correlation: {type: value_count, group-by: [proc.args], timespan: 1m, condition: {field: proc.cmdline, gte: 1}}
- rule: Clients
  desc: d
  condition: clients
  output: "%correlation.values of %correlation.group"
  priority: NOTICE
- macro: shadow
  condition: evt.type = openat
- macro: steps
  correlation: {type: temporal, macros: [client, shadow], group-by: [proc.pid], timespan: 5m}
- rule: Steps
  desc: d
  condition: steps
  output: "%proc.name after %correlation.leg[client].proc.cmdline"
  priority: NOTICE
"""


def ruleset(redact: Redact = unredacted) -> CompiledRuleset:
    """Load the rules."""
    result = load_rules([RuleFile("rules.yaml", RULES)])
    assert [problem.message for problem in result.errors] == []
    return compile_ruleset(result.rules, result.macros, RulesetOptions(redact=redact))


def batch(number: int, event_type: str = "execve") -> EventBatch:
    """Make a batch of one event of the client."""
    event = {
        "type": event_type,
        "process": 2,
        "time": TIME + number,
        "args": {"args": "--password=hunter2 -h db", "env": "TOKEN=hunter2"},
    }
    return batch_of(event, processes=[INIT, SHELL, MYSQL], sequence=number)


def alerts(redact: Redact) -> list[Alert]:
    """Evaluate three runs of the client and a read of a file, up to the end of the repeats."""
    evaluator = Evaluator(ruleset(redact))
    batches = [*map(batch, (1, 2, 3)), batch(4, "openat")]
    return [alert for each in batches for alert in evaluator.process(each)] + evaluator.correlator.finish()


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("mysql --password=hunter2 -h x", "mysql --password=[redacted] -h x"),
        ("x --db-password hunter2 --token t u", "x --db-password [redacted] --token [redacted] u"),
        ("args=-u.u.--password.hunter2 x", "args=-u.u.--password.[redacted] x"),
        ("-u\0u\0--password\0hunter2", "-u\0u\0--password\0[redacted]"),
        ("mysql --password -h x", "mysql --password -h x"),
        ("docker login --password-stdin x", "docker login --password-stdin x"),
        ("DB_PASSWORD='a b'c AWS_SECRET_ACCESS_KEY=k", "DB_PASSWORD=[redacted] AWS_SECRET_ACCESS_KEY=[redacted]"),
        (
            "passwd=1 secret=2 api_key=3 API-Key=4",
            "passwd=[redacted] secret=[redacted] api_key=[redacted] API-Key=[redacted]",
        ),
        ("curl http://x/?token=abc", "curl http://x/?token=[redacted]"),
        ("https://u:p@ss@h/x http://h:80/x@y", "https://u:[redacted]@h/x http://h:80/x@y"),
        ("git@h:a ssh://git@h/a cat /etc/passwd", "git@h:a ssh://git@h/a cat /etc/passwd"),
        ("-H Authorization: Bearer abc x", "-H Authorization: Bearer [redacted] x"),
        ("authorization:abc https://h", "authorization:[redacted] https://h"),
        (r'{"password": "a\"b c", "x": "y"}', '{"password": "[redacted]", "x": "y"}'),
        ("mysql -phunter2", "mysql -phunter2"),
        ('password=" --token=', "password=[redacted] --token="),
        ("токен token=пароль\u00a0я ok", "токен token=[redacted] ok"),
        ("\udcff token=a\udcffb ok", "? token=[redacted] ok"),
        ("\udcff ok", "\udcff ok"),
    ],
)
def test_common_forms_are_masked_and_what_is_like_them_stays(text: str, masked: str) -> None:
    """The words around a secret stay; masking what is masked changes nothing."""
    redaction = Redaction()
    assert redaction.text(text) == masked
    assert redaction.text(masked) == masked


@pytest.mark.parametrize("part", ["a", "x://:", "x://:a@", "token=a ", 'token="', '"token":"a', "--token "])
def test_a_hostile_text_of_any_length_is_masked_without_fault(part: str) -> None:
    """What repeats a pattern's beginning ends, and its secret at the end is masked all the same."""
    text = part * 20_000 + '" --password=hunter2'
    assert "hunter2" not in Redaction().text(text)


def test_patterns_of_ones_own_stand_beside_the_default_or_in_its_place() -> None:
    """Names of groups and quotation clash with no other pattern; a group that takes no part masks nothing."""
    own = [r"-p(?P<x>\S+)", r"-q(?P<x>\S+)", r"z(y)?", r"(w)\Q.("]
    assert (
        Redaction(own).text("-pa -qb z zy w.( token=a")
        == "-p[redacted] -q[redacted] z z[redacted] [redacted].( token=a"
    )
    assert Redaction(["default", *own]).text("-pa token=a") == "-p[redacted] token=[redacted]"
    assert Redaction(["^(a)", "(b)$"]).text("ab ab") == "[redacted]b a[redacted]"
    assert Redaction([]).text("token=a") == "token=a"


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [("a(b", "missing )"), ("ab", "must have one group, round what is masked, and has 0"), ("(a)(b)", "has 2")],
)
def test_a_bad_pattern_states_what_is_wrong(pattern: str, reason: str) -> None:
    """It is quoted."""
    with pytest.raises(BadPattern, match=f".*{pattern.replace('(', '.').replace(')', '.')}") as caught:
        Redaction([pattern])
    assert reason in str(caught.value)


def test_rules_see_what_alerts_do_not_contain() -> None:
    """Output, fields, the event with its ancestors, windows, legs and summaries of repeats are masked; ids stay."""
    raw, masked = alerts(unredacted), alerts(Redaction().alert)
    assert {alert.rule for alert in raw} == {"Client", "Clients", "Steps"}
    assert any(alert.repeats for alert in raw)
    assert all("hunter2" in str(alert) for alert in raw)
    assert not any("hunter2" in str(alert) for alert in masked)
    for before, after in zip(raw, masked, strict=True):
        assert (
            dataclasses.replace(
                before, output=after.output, output_fields=after.output_fields, event=after.event, window=after.window
            )
            == after
        )
        assert decode_alert(encode_alert(after)) == after
    client = masked[0]
    assert client.output.startswith("mysql --password=[redacted] -h db by sh -c mysql --password=[redacted] on ")
    assert client.output_fields["proc.args"] == "--password=[redacted] -h db"
    assert client.event["proc.pcmdline"] == "sh -c mysql --password=[redacted]"
    assert "TOKEN=[redacted]" in str(client.event["evt.args"])
    window = next(alert.window for alert in masked if alert.rule == "Clients")
    assert window is not None
    assert window.values == ("mysql --password=[redacted] -h db",)
    assert window.group == {"proc.args": "--password=[redacted] -h db"}
    steps = next(alert for alert in masked if alert.rule == "Steps")
    assert steps.output.startswith("mysql after mysql --password=[redacted] -h db")
    assert steps.output_fields["correlation.leg[client].proc.cmdline"] == "mysql --password=[redacted] -h db"


@pytest.mark.parametrize(
    ("arguments", "masked"),
    [
        (("mysql", "--password", "hunter2", "a b"), ("mysql", "--password", "[redacted]", "a b")),
        (("curl", "-H", "Authorization: Bearer x"), ("curl", "-H", "Authorization: Bearer [redacted]")),
        (("ls", "a b"), ("ls", "a b")),
        (("x", "a\fb", "--token", "s"), ("x", "a\fb", "--token", "[redacted]")),
    ],
)
def test_arguments_are_masked_as_their_line_is(arguments: tuple[str, ...], masked: tuple[str, ...]) -> None:
    """An option and its value are two arguments, which no pattern sees apart."""
    assert Redaction().values({"process.args": arguments})["process.args"] == masked


@given(st.one_of(*(st.from_regex(each) for each in DEFAULT_PATTERNS)), st.text(max_size=20))
def test_no_secret_is_left_because_a_text_seems_to_have_none(text: str, more: str) -> None:
    """The texts that are searched by the built-in patterns include all that these match."""
    assert Redaction().text(text + more) == _SEARCHES_ALWAYS.text(text + more)


def test_expressions_are_imported_when_a_text_may_have_a_secret() -> None:
    """They take 2.4 MiB, and few command lines and paths look like that."""
    act = (
        "import sys\nfrom processor.output.redaction import Redaction\nredaction = Redaction()\n"
        "for text in ('cat /etc/passwd', 'mysql --password=hunter2'): print(redaction.text(text), 're2' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", act], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.splitlines() == ["cat /etc/passwd False", "mysql --password=[redacted] True"]


def test_events_that_match_no_rule_are_not_searched() -> None:
    """Masking is asked once an alert, and never before."""
    searched: list[str] = []

    def redact(alert: Alert) -> Alert:
        searched.append(alert.rule)
        return alert

    result = load_rules([RuleFile("rules.yaml", RULES.split("- macro", maxsplit=1)[0])])
    detector = Detector(result.rules, RulesetOptions(redact=redact))
    detector.process(BatchView(batch(1, "openat")))
    assert searched == []
    detector.process(BatchView(batch(2)))
    assert searched == ["Client"]
