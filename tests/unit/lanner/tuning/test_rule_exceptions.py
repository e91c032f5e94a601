from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lanner.console.store.reading import AlertReader
from lanner.tuning.proposals import TunedAlert, proposal_for
from lanner.tuning.rule_exceptions import BadExceptionFields, Decisions, choices, quieted, written
from processor.compiler.mapping import compile_mapping
from processor.loading import RuleFile, load_rules
from processor.rule import RuleException
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
    event = {"proc.exepath": name, "fd.name": file, "evt.type": "openat", "evt.num": number}
    return found(number, event=event, output_fields={}, **facts)


def looked_at(reader: AlertReader, since: int = 0) -> Iterator[tuple[Alert, Decisions]]:
    """Yield the alerts of the rule, about which nobody decided anything."""
    return ((each, {}) for each, _ in reader.alerts_of_rule("Read sensitive file", since, 9))


def test_an_exception_quiets_the_alerts_with_the_same_values(tmp_path: Path) -> None:
    """The others of the rule stay, and those of other rules are not counted."""
    alerts = [read(0), read(1), read(2, name="vi"), read(3, rule="Another"), read(4, file="/etc/sudoers")]
    _, reader = filled(tmp_path, alerts)
    one = written(alerts[0], ("proc.exepath", "fd.name"), None, NOW)
    result = quieted(looked_at(reader), one, alerts[0], NOW - HOUR, lambda: False)
    assert (result.alerts, result.checked, result.is_partial) == (2, 4, False)
    wide = quieted(looked_at(reader), written(alerts[0], ("fd.name",), None, NOW), alerts[0], NOW - HOUR, lambda: False)
    assert wide.alerts == 3
    newest = quieted(
        looked_at(reader, NOW - 90 * 10**9),
        written(alerts[0], ("fd.name",), None, NOW),
        alerts[0],
        NOW - 90 * 10**9,
        lambda: False,
    )
    assert newest.checked == 2
    assert one.condition == "(proc.exepath = cat and fd.name = /etc/shadow)"


def test_looking_ends_when_it_is_stopped(tmp_path: Path) -> None:
    """The answer states it."""
    _, reader = filled(tmp_path, [read(0), read(1)])
    result = quieted(looked_at(reader), written(read(0), ("fd.name",), None, NOW), read(0), 0, lambda: True)
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
    fields = tuple(each for each in ("proc.exepath", "fd.name") if each in choices(one))
    if not fields:
        return
    proposed = written(one, fields, None, NOW, {"cats", "0"})
    assert proposed.excludes(one)
    assert not proposed.excludes(read(0, name=f"{name}x", file=f"{file}x"))
    loaded = load_rules([RuleFile("rules.yaml", RULE), RuleFile("quiet.yaml", proposed.text)])
    assert loaded.errors == ()
    matches = compile_mapping(loaded.rules[0].condition)
    assert not matches(one.event)
    assert matches({**one.event, fields[0]: "other"})


@pytest.mark.parametrize("fields", [("proc.pid",), ("proc.name",), ("fd.name", "nothing"), ("fd.name",) * 9])
def test_only_fields_of_the_alert_can_be_named(fields: tuple[str, ...]) -> None:
    """At most eight, none of them a name that a process can choose."""
    with pytest.raises(BadExceptionFields):
        written(read(0), fields, None, NOW)


def test_values_that_are_not_those_of_the_event_are_no_choice() -> None:
    """Masked secrets, undecodable bytes, missing values, and those that are too long for a condition."""
    one = read(0, name="a\ufffd", file="/x?token=[redacted]")
    assert choices(one).keys() == {"evt.type"}
    assert choices(read(0, name="a\ufffd", file="/" + "x" * 255)).keys() == {"evt.type"}


def test_names_of_processes_are_no_choice() -> None:
    """Whoever starts a program chooses them; paths and images stay."""
    names = ("proc.name", "proc.pname", "proc.aname[2]", "proc.exe", "proc.pexe", "proc.vpgid.name", "proc.sname")
    paths = ("proc.codepath", "proc.pcodepath", "proc.exepath", "container.image.repository")
    one = found(0, event={}, output_fields=dict.fromkeys((*names, *paths), "x"))
    assert choices(one).keys() == {*paths}


def test_a_command_line_alone_excuses_nothing() -> None:
    """Anybody can write it; beside a file, it may be chosen."""
    one = found(0, event={"proc.cmdline": "cat /etc/shadow", "fd.name": "/etc/shadow"}, output_fields={})
    with pytest.raises(BadExceptionFields, match="choose a path or an image"):
        written(one, ("proc.cmdline",), None, NOW)
    assert written(one, ("proc.cmdline", "fd.name"), None, NOW).excludes(one)


def test_a_proposal_is_for_the_exception_of_the_rule() -> None:
    """By its name and with values only; with other fields, it is a new exception with the operators proposed."""
    own = {"proc.codepath": "/usr/bin/tar", "fd.name": "/srv/data/a", "user.name": "root"}
    one = found(0, event=own, output_fields={})
    declared = {one.rule: [RuleException("program_file", ("proc.codepath", "fd.name"), ("=", "startswith"))]}
    others = [TunedAlert(one.rule, "a", {**own, "fd.name": f"/srv/data/{name}"}) for name in "bcdef"]

    proposal = proposal_for(TunedAlert.of(one), others, declared)
    text = written(one, (), proposal, NOW)

    assert [each.field for each in text.conditions] == ["proc.codepath", "fd.name"]
    assert "- name: program_file\n      values:\n        - [/usr/bin/tar, /srv/data/]" in text.text
    assert text.condition == "(proc.codepath = /usr/bin/tar and fd.name startswith /srv/data/)"
    assert text.excludes(one)
    narrower = written(one, ("fd.name", "user.name"), proposal, NOW)
    assert "quiet_" in narrower.text
    assert narrower.condition == "(fd.name startswith /srv/data/ and user.name = root)"


def test_an_alert_that_shares_nothing_gets_a_proposal_of_its_own() -> None:
    """Unless its program runs whatever somebody types: then nothing is proposed."""
    one = found(0, event={"proc.codepath": "/usr/bin/tar", "fd.name": "/srv/a"}, output_fields={})
    shell = found(0, event={"proc.codepath": "/usr/bin/bash", "fd.name": "/srv/a"}, output_fields={})

    alone = proposal_for(TunedAlert.of(one), [], {})

    assert written(one, (), alone, NOW).condition == "(proc.codepath = /usr/bin/tar and fd.name = /srv/a)"
    assert proposal_for(TunedAlert.of(shell), [TunedAlert.of(one)] * 9, {}) is None
    assert written(shell, (), None, NOW).text == ""
