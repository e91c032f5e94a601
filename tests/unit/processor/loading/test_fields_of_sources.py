import pytest

from tests.unit.processor.loading.files import load

RULE = """
- macro: audit_only
  condition: ka.verb = get
- rule: R
  desc: d
  condition: {condition}
  output: {output}
  priority: NOTICE
  source: {source}
"""


@pytest.mark.parametrize(
    ("source", "condition", "output", "message"),
    [
        ("syscall", "evt.type = open and ka.verb = get", "x", "nonexistent field ka.verb"),
        ("syscall", "evt.type = open and audit_only", "x", "nonexistent field ka.verb"),
        ("syscall", "evt.type = open", "x %jevt.value[/a]", "invalid formatting token jevt.value[/a]"),
        ("k8s_audit", "audit_only and proc.name = cat", "x", "nonexistent field proc.name"),
        ("k8s_audit", "audit_only", "x %toupper(proc.name)", "invalid formatting token proc.name"),
    ],
)
def test_the_fields_of_another_source_are_unknown(source: str, condition: str, output: str, message: str) -> None:
    """Events of one source never have values for them."""
    result = load(RULE.format(source=source, condition=condition, output=output))

    (error,) = result.errors
    assert message in error.message
    assert error.hint.endswith(f"events of source {source} don't have this field")


def test_a_rule_may_skip_itself_for_a_field_of_another_source() -> None:
    """As for any field that does not exist."""
    text = RULE.format(source="syscall", condition="evt.type = open and ka.verb = get", output="x")
    result = load(f"{text}  skip-if-unknown-filter: true\n")

    assert result.ok
    assert [rule.name for rule in result.rules] == []


def test_rules_of_unknown_sources_are_skipped_with_a_warning() -> None:
    """The hint names the sources that there are."""
    result = load(RULE.format(source="k8s_audits", condition="ka.verb = get and nonsense.field = 1", output="x"))

    assert result.ok
    assert result.rules == ()
    hints = {each.code.name: each.hint for each in result.warnings}
    assert hints["LOAD_UNKNOWN_SOURCE"] == "did you mean 'k8s_audit'?"


WINDOWS = """
- macro: requested
  condition: ka.verb = get
- macro: opened
  condition: evt.type = open
- macro: window
  {own}
  correlation: {{{correlation}, timespan: 1m}}
- rule: R
  desc: d
  condition: window
  output: x {output}
  priority: NOTICE
  source: {source}
  {more}
"""
SEQUENCE = "type: temporal_ordered, macros: [requested, opened]"
COUNT = "type: event_count, condition: {gte: 2}"


@pytest.mark.parametrize(
    ("own", "correlation", "source", "output", "more", "message"),
    [
        ("", SEQUENCE, "k8s_audit", "", "", "no event of source k8s_audit completes the stateful macro 'window'"),
        (
            "",
            f"{SEQUENCE}, group-by: [fd.name]",
            "syscall",
            "",
            "",
            "no source of events has all fields of 'requested'",
        ),
        (
            *("condition: ka.verb = get", f"{COUNT}, group-by: [fd.name]", "k8s_audit", "", ""),
            "no source of events has all fields of its condition",
        ),
        (
            *("condition: ka.verb = get", COUNT, "k8s_audit", "", "suppress: {by: [proc.name], for: 1m}"),
            "events of source k8s_audit don't have field 'proc.name'",
        ),
        (
            *("", SEQUENCE, "syscall", "%correlation.leg[requested].proc.name", ""),
            "the events of this leg don't have the field",
        ),
    ],
)
def test_windows_read_only_fields_that_their_events_have(
    own: str, correlation: str, source: str, output: str, more: str, message: str
) -> None:
    """Each leg has the fields of its source, and the last leg decides whose rules can use the macro."""
    text = WINDOWS.format(own=own, correlation=correlation, source=source, output=output, more=more)

    messages = [error.message for error in load(text).errors]

    assert any(message in each for each in messages), messages


def test_a_window_may_take_events_of_several_sources() -> None:
    """The rule is of the source whose event completes it."""
    output = "%correlation.leg[requested].ka.user.name"

    assert load(WINDOWS.format(own="", correlation=SEQUENCE, source="syscall", output=output, more="")).ok
