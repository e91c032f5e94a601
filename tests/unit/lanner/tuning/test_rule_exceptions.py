from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lanner.console.store.reading import AlertReader
from lanner.tuning.rule_exceptions import BadExceptionFields, Decisions, choices, propose, quieted, usual_fields
from processor.compiler.mapping import compile_mapping
from processor.loading import RuleFile, load_rules
from schemas.alert import Alert
from tests.unit.lanner.console.alerts import HOUR, NOW, filled, found

RULE = """
- list: cats
  items: [cat, dog]
- list: "0"
  items: [1, 2]
- rule: Read sensitive file
  desc: x
  condition: evt.type = openat
  output: x
  priority: WARNING
"""


def read(number: int, name: str = "cat", file: str = "/etc/shadow", **facts: object) -> Alert:
    """Return an alert of so many minutes ago."""
    event = {"proc.name": name, "fd.name": file, "evt.type": "openat", "evt.num": number}
    return found(number, event=event, output_fields={}, **facts)


def looked_at(reader: AlertReader, since: int = 0) -> Iterator[tuple[Alert, Decisions]]:
    """Yield the alerts of the rule, about which nobody decided anything."""
    return ((each, {}) for each, _ in reader.alerts_of_rule("Read sensitive file", since, 9))


def test_an_exception_quiets_the_alerts_with_the_same_values(tmp_path: Path) -> None:
    """The others of the rule stay, and those of other rules are not counted."""
    alerts = [read(0), read(1), read(2, name="vi"), read(3, rule="Another"), read(4, file="/etc/sudoers")]
    _, reader = filled(tmp_path, alerts)
    one = propose(alerts[0], ("proc.name", "fd.name"), NOW)
    result = quieted(looked_at(reader), one, alerts[0], NOW - HOUR, lambda: False)
    assert (result.alerts, result.checked, result.is_partial) == (2, 4, False)
    wide = quieted(looked_at(reader), propose(alerts[0], ("fd.name",), NOW), alerts[0], NOW - HOUR, lambda: False)
    assert wide.alerts == 3
    newest = quieted(
        looked_at(reader, NOW - 90 * 10**9),
        propose(alerts[0], ("fd.name",), NOW),
        alerts[0],
        NOW - 90 * 10**9,
        lambda: False,
    )
    assert newest.checked == 2
    assert one.condition == "(proc.name = cat and fd.name = /etc/shadow)"


def test_looking_ends_when_it_is_stopped(tmp_path: Path) -> None:
    """The answer states it."""
    _, reader = filled(tmp_path, [read(0), read(1)])
    result = quieted(looked_at(reader), propose(read(0), ("fd.name",), NOW), read(0), 0, lambda: True)
    assert (result.checked, result.is_partial) == (0, True)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(min_size=1, max_size=40), st.text(min_size=1, max_size=40))
@example("x)or(evt.num>=0", 'a" or evt.num >= 0 or proc.name = "a')
@example("cats", "cat cats 0")
@example("cats\\cats", "\ncats")
@example("val(proc.name)", "/tmp/a b")
def test_an_exception_for_any_values_loads_and_excludes_its_alert(name: str, file: str) -> None:
    """Also beside the rule itself, whatever an attacker calls a program or a file."""
    one = read(0, name=name, file=file)
    fields = tuple(each for each in ("proc.name", "fd.name") if each in choices(one))
    if not fields:
        return
    proposed = propose(one, fields, NOW, {"cats", "0"})
    assert proposed.excludes(one)
    assert not proposed.excludes(read(0, name=f"{name}x", file=f"{file}x"))
    loaded = load_rules([RuleFile("rules.yaml", RULE), RuleFile("quiet.yaml", proposed.text)])
    assert loaded.errors == ()
    matches = compile_mapping(loaded.rules[0].condition)
    assert not matches(one.event)
    assert matches({**one.event, fields[0]: "other"})


@pytest.mark.parametrize("fields", [(), ("proc.pid",), ("fd.name", "nothing"), ("fd.name",) * 9])
def test_only_fields_of_the_alert_can_be_named(fields: tuple[str, ...]) -> None:
    """At least one and at most eight, each once is enough."""
    with pytest.raises(BadExceptionFields):
        propose(read(0), fields, NOW)


def test_values_that_are_not_those_of_the_event_are_no_choice() -> None:
    """Masked secrets, undecodable bytes, missing values, and those that are too long for a condition."""
    one = read(0, name="a\ufffd", file="/x?token=[redacted]")
    assert choices(one) == {"evt.type": "openat"}
    assert choices(read(0, name="a\ufffd", file="/" + "x" * 255)) == {"evt.type": "openat"}
    assert usual_fields(choices(read(0))) == ("fd.name",)
    known = found(0, event={"proc.codepath": "/usr/bin/cat", "proc.name": "cat", "fd.name": "/x"}, output_fields={})
    assert usual_fields(choices(known)) == ("proc.codepath", "fd.name")
