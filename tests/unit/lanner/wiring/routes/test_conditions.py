from pathlib import Path

import pytest

from lanner.errors import BadInput
from lanner.settings import Settings
from lanner.settings.build import build_settings
from lanner.settings.tree import parse_yaml
from lanner.wiring.sinks.registry import addresses_of
from notifier.delivery.stats import SinkStats
from schemas.alert import Alert
from tests.unit.alerts import alert

IN_PROD = {"container.id": "3f2a", "k8s.ns.name": "prod", "proc.name": "bash", "evt.type": "openat"}


def settings_of(text: str) -> Settings:
    """Read settings from a text that must be right."""
    settings, problems = build_settings(parse_yaml(text, "lanner.yaml"))
    assert problems == []
    return settings


def slack_takes(text: str, made: Alert, said: list[str] | None = None, tally: SinkStats | None = None) -> bool:
    """Tell whether Slack gets an alert by these settings."""
    notes: list[str] = [] if said is None else said
    address = addresses_of(settings_of(text), notes.append)("slack", tally or SinkStats())
    return address(made) is not None


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
def test_a_route_asks_by_the_rule_language(condition: str, taken: bool) -> None:
    """Of the whole event, of what the output names besides, and by macros of the rules; what is missing is false."""
    made = alert(event=IN_PROD, output_fields={"fd.name": "/etc/shadow"}, hostname="web-3")
    assert slack_takes(f"routes: [{{match: '{condition}', sink: slack}}]", made) is taken


def test_macros_and_lists_of_the_rules_in_force_mean_what_they_mean_there(tmp_path: Path) -> None:
    """`container` may be defined anew."""
    (tmp_path / "own.yaml").write_text(
        "- list: calm\n  items: [bash, zsh]\n- macro: container\n  condition: proc.name in (calm)\n"
    )
    text = f"rules_files: [{tmp_path}/own.yaml]\nroutes: [{{match: container, sink: slack}}]"
    assert slack_takes(text, alert(event={"proc.name": "zsh"}))
    assert not slack_takes(text, alert(event={"container.id": "3f2a"}))


def test_all_other_parts_of_a_match_must_hold_too() -> None:
    """A condition is one of them."""
    text = "routes: [{match: {priority: error, condition: container}, sink: slack}]"
    assert slack_takes(text, alert(event=IN_PROD, priority="Error"))
    assert not slack_takes(text, alert(event=IN_PROD, priority="Warning"))


def test_a_mute_takes_a_condition() -> None:
    """And is counted."""
    tally = SinkStats()
    assert not slack_takes("mute: [{match: proc.name = bash, reason: x}]", alert(event=IN_PROD), tally=tally)
    assert tally.muted == 1


def test_every_fault_of_a_condition_is_told_with_its_place(tmp_path: Path) -> None:
    """File, line and column of the setting, then the condition with the fault marked."""
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
        addresses_of(settings_of(text), print)
    told = sorted(caught.value.messages)
    assert told[0].startswith("lanner.yaml:3:13: routes[0].match: Undefined macro 'contaner'")
    assert told[0].endswith("Did you mean 'container'?\n    contaner and k8s.ns.name = prod\n    ^^^^^^^^")
    assert told[1].startswith("lanner.yaml:4:24: routes[1].match: ")
    assert told[1].endswith("Did you mean 'proc.name'?\n     proc.nam = y\n     ^^^^^^^^")
    assert told[2].startswith("lanner.yaml:5:16: mute[0].match: 'often' counts events")
    assert told[3].startswith("lanner.yaml:5:32: mute[1].match: ")


@pytest.mark.parametrize(
    ("setting", "taken"), [("routes: [{match: '%s', sink: slack}]", True), ("mute: [{match: '%s'}]", True)]
)
def test_a_condition_that_fails_tells_people_rather_than_not(setting: str, taken: bool) -> None:
    """A number that no integer holds: the route takes the alert, the mute doesn't; counted, and told once."""
    said: list[str] = []
    tally = SinkStats()
    broken = alert(event={"proc.pid": float("inf")})
    for _ in range(2):
        address = addresses_of(settings_of(setting % "proc.pid > 1"), said.append)("slack", tally)
        assert (address(broken) is not None) is taken
    assert tally.condition_faults == 2
    assert len(said) == 1
    assert "the condition failed" in said[0]
