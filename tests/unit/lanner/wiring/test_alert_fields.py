from pathlib import Path
from typing import Any

import pytest

from lanner.errors import BadInput
from lanner.settings import Settings, load_settings
from lanner.settings.build import build_settings
from lanner.settings.load import parse_yaml
from lanner.wiring.alert_fields import appended, compile_template, compile_templates, or_own_text
from lanner.wiring.routers import routing_table
from notifier.sink import SinkStats
from schemas.alert import Alert, Repeats
from tests.notes import into
from tests.unit.alerts import alert

IN_PROD = {"container.id": "3f2a", "k8s.ns.name": "prod", "proc.name": "bash", "evt.type": "openat"}


@pytest.fixture(autouse=True)
def _few_rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use a macro in place of the shipped rules, unless a test names its rules: it loads faster."""
    monkeypatch.chdir(tmp_path)
    Path("few.yaml").write_text("- macro: in_container\n  condition: container.id != host\n")


def settings_of(text: str) -> Settings:
    """Return settings from valid text."""
    rules = "" if "rules_files" in text else "\nrules_files: [few.yaml]"
    settings, problems = build_settings(parse_yaml(text + rules, "lanner.yaml"))
    assert problems == []
    return settings


def slack_gets(text: str, made: Alert, said: list[str] | None = None, stats: SinkStats | None = None) -> bool:
    """Return whether Slack gets an alert with these settings."""
    notes: list[str] = [] if said is None else said
    router = routing_table(settings_of(text), into(notes)).router("slack", stats or SinkStats())
    return router(made) is not None


@pytest.mark.parametrize(
    ("condition", "taken"),
    [
        ("container and k8s.ns.name = prod", True),
        ("container and k8s.ns.name = test", False),
        ("evt.type in (open, openat)", True),
        ("proc.cmdline contains nc", False),
        ("not proc.cmdline contains nc", True),
        ("evt.hostname startswith web", True),
        ("fd.name endswith shadow", True),
        ("in_container", True),
    ],
)
def test_a_route_matches_by_the_rule_language(condition: str, taken: bool) -> None:
    """Fields of the event, fields of the output and macros of the rules; a missing field makes a comparison false."""
    made = alert(event=IN_PROD, output_fields={"fd.name": "/etc/shadow"}, hostname="web-3")
    assert slack_gets(f"routes: [{{match: '{condition}', sink: slack}}]", made) is taken


def test_macros_and_lists_have_the_meaning_of_the_active_rules(tmp_path: Path) -> None:
    """Rule files may redefine `container`."""
    (tmp_path / "own.yaml").write_text(
        "- list: calm\n  items: [bash, zsh]\n- macro: container\n  condition: proc.name in (calm)\n"
    )
    text = f"rules_files: [{tmp_path}/own.yaml]\nroutes: [{{match: container, sink: slack}}]"
    assert slack_gets(text, alert(event={"proc.name": "zsh"}))
    assert not slack_gets(text, alert(event={"container.id": "3f2a"}))


def test_the_other_conditions_of_a_match_must_hold_too() -> None:
    """The condition in the rule language is only one of them."""
    text = "routes: [{match: {priority: error, condition: container}, sink: slack}]"
    assert slack_gets(text, alert(event=IN_PROD, priority="Error"))
    assert not slack_gets(text, alert(event=IN_PROD, priority="Warning"))


def test_a_mute_may_have_a_condition() -> None:
    """Muted alerts are counted."""
    stats = SinkStats()
    assert not slack_gets("mute: [{match: proc.name = bash, reason: x}]", alert(event=IN_PROD), stats=stats)
    assert stats.muted == 1


def test_every_error_in_a_condition_is_reported_with_its_position(tmp_path: Path) -> None:
    """File, line and column of the setting, then the condition with the error marked."""
    (tmp_path / "own.yaml").write_text(
        "- macro: often\n  condition: evt.type = open\n"
        "  correlation: {type: event_count, group-by: [proc.name], timespan: 1m, condition: {gte: 3}}\n"
    )
    text = (
        f"rules_files: [{tmp_path}/own.yaml]\n"
        "routes:\n"
        "  - {match: contaner and k8s.ns.name = prod, sink: slack}\n"
        '  - match: {condition: "proc.name = x or\\n proc.nam = y"}\n'
        "mute: [{match: often}, {match: 'proc.name ='}]\n"
    )
    with pytest.raises(BadInput) as caught:
        routing_table(settings_of(text), print)
    errors = sorted(caught.value.messages)
    assert errors[0].startswith("lanner.yaml:3:13: routes[0].match: Undefined macro 'contaner'")
    assert errors[0].endswith("    |             ^^^^^^^^\n  = did you mean 'container'?")
    assert errors[1].startswith("lanner.yaml:4:44: routes[1].match: ")
    assert errors[1].endswith(
        "    |                                            ^^^^^^^^\n  = did you mean 'proc.name'?"
    )
    assert errors[2].startswith("lanner.yaml:5:16: mute[0].match: 'often' counts events")
    assert errors[3].startswith("lanner.yaml:5:43: mute[1].match: ")


@pytest.mark.parametrize(
    ("setting", "taken"), [("routes: [{match: '%s', sink: slack}]", True), ("mute: [{match: '%s'}]", True)]
)
def test_when_a_condition_fails_people_get_the_alert(setting: str, taken: bool) -> None:
    """A route accepts the alert and a mute ignores it; faults are counted, and reported once."""
    said: list[str] = []
    stats = SinkStats()
    broken = alert(event={"proc.pid": float("inf")})
    for _ in range(2):
        router = routing_table(settings_of(setting % "proc.pid > 1"), into(said)).router("slack", stats)
        assert (router(broken) is not None) is taken
    assert stats.condition_faults == 2
    assert len(said) == 1
    assert "the condition failed" in said[0]


SUMMARY = alert(
    output_fields={"fd.name": ("/etc/shadow", "/tmp/decoys/…"), "evt.hostname": ("web-1", "db-1")},
    event={"proc.name": "cat"},
    hostname="web-1",
    repeats=Repeats("first", 9, 1, 2, 3),
)


@pytest.mark.parametrize(
    ("mute", "is_sent"),
    [
        ("condition: fd.name startswith /tmp/decoys", True),
        ("condition: fd.directory startswith /tmp/decoys", True),
        ("condition: not fd.name = /etc/passwd", True),
        ("condition: proc.name = cat", False),
        ("host: web-1", True),
        ("host: '*-1'", False),
    ],
)
def test_a_mute_drops_no_summary_of_alerts_that_it_may_not_be_about(mute: str, is_sent: bool) -> None:
    """It lists what the first of them hid; and this is no fault of the condition."""
    notes: list[str] = []
    text = f"mute: [{{match: {{{mute}}}}}]"
    assert slack_gets(text, SUMMARY, notes) is is_sent
    assert notes == []


@pytest.mark.parametrize("match", ["fd.name = /etc/passwd", "{host: db-1}", "{host: web-1}"])
def test_a_route_takes_summaries_that_may_be_about_it(match: str) -> None:
    """Nobody else would get them."""
    assert slack_gets(f"routes: [{{match: {match}, sink: slack}}]", SUMMARY)
    assert not slack_gets("routes: [{match: {host: app-1}, sink: slack}]", SUMMARY)


def settings(template: str) -> Settings:
    """Return settings with one route."""
    return load_settings(None, {}, [f"routes=[{{sink: slack, template: {template!r}}}]"])


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("%fd.name by %proc.aname[2], pod %k8s.pod.name", "/etc/shadow by sshd, pod <NA>"),
        ("on %evt.hostname (%evt.source)", "on web-3 (syscall)"),
        ("%evt.time.iso8601", "2026-11-24T14:31:30.479846943+0000"),
        ("%toupper(proc.name) %len(fd.name) [%10proc.name]", "CAT 11 [cat       ]"),
        ("%proc.name, %ka.user.name and %ka.target.name.", "cat, admin and <NA>."),
        ("plain", "plain"),
        ("", ""),
    ],
)
def test_a_template_is_an_output_format_of_falcos(template: str, text: str) -> None:
    """It may have widths and transformers; a field of a Falco plugin is looked up by its name."""
    fields: dict[str, Any] = {"fd.name": "/etc/shadow", "proc.name": None, "ka.user.name": "admin"}
    made = alert(output_fields=fields, event={"proc.aname[2]": "sshd", "proc.name": "cat", "fd.name": "other"})
    assert compile_template(template)(made) == text


def test_an_invalid_template_is_an_error_at_start() -> None:
    """The error names the setting and the closest field."""
    for template, said in (
        (
            "by %proc.nmae",
            r"^routes\[0\].template: invalid formatting token proc.nmae.\n  = did you mean 'proc.name'\?$",
        ),
        ("100%", r"^routes\[0\].template: .* cannot end with a %"),
    ):
        with pytest.raises(BadInput, match=said):
            compile_templates(settings(template))


def test_a_template_that_fails_loses_no_alert() -> None:
    """The rule's own output is used; that is counted, and reported once."""
    stats, reported = SinkStats(), list[str]()
    fill = or_own_text(lambda made: made.event["no.such"], "routes[0]", stats, into(reported))
    assert [fill(alert()) for _ in range(2)] == [alert().output] * 2
    assert (stats.condition_faults, len(reported)) == (2, 1)


def test_alerts_of_falco_get_what_append_output_adds() -> None:
    """Text, a field of the alert, and a field with a format, if rule, source and tags match."""
    entries = (
        "{match: {rule: A, tags: [t]}, extra_output: 'by %ka.user.name', extra_fields: [fd.name, {team: blue}]}",
        "{match: {source: other}, extra_output: no}",
    )
    add = appended(load_settings(None, {}, [f"append_output[]={each}" for each in entries]))
    made = alert(rule="A", tags=("t", "u"), output="o", output_fields={"ka.user.name": "x"}, event={"fd.name": "/a"})
    found = add(made)
    assert found.output == "o by x"
    assert found.output_fields == {"ka.user.name": "x", "fd.name": "/a", "team": "blue"}
    other = alert(rule="B", tags=("t",))
    assert add(other) == other
