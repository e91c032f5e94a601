import os
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner

from lanner.cli.app import lanner_command
from lanner.errors import BadInput
from lanner.settings import Settings, find_file, load_settings
from lanner.settings.build import build_settings
from lanner.settings.faults import SettingFault
from lanner.settings.load import parse_yaml
from lanner.settings.sections.model import Selection, Target
from lanner.settings.sections.sinks import AppendOutput, ExtraField, OutputMatch
from lanner.settings.shown import render


def settings_of(text: str) -> Settings:
    """Load settings from a valid text."""
    settings, problems = build_settings(parse_yaml(text, "lanner.yaml"))
    assert problems == []
    return settings


def alias_bomb() -> str:
    """Return nine short lines that expand to 10^12 items."""
    lines = ["a: &a [x,x,x,x,x,x,x,x,x,x]"]
    lines += [f"{name}: &{name} [{','.join(['*' + before] * 10)}]" for before, name in pairwise("abcdefghi")]
    return "\n".join(lines)


def problems_of(text: str) -> list[SettingFault]:
    """Load settings from a text and return the errors."""
    return build_settings(parse_yaml(text, "lanner.yaml"))[1]


def test_defaults_print_as_a_file_that_gives_the_defaults() -> None:
    """The output of `config default` is a valid settings file."""
    assert settings_of(render(Settings(), comments=True)) == Settings()


def test_active_settings_print_as_a_file_that_gives_them() -> None:
    """Every type of value survives being written and parsed."""
    settings = settings_of(
        "rules_files: [a.yaml, 'b: c.yaml']\n"
        "rules: [{disable: {rule: '*'}}, {enable: {tag: container}}]\n"
        "append_output:\n"
        "  - {match: {source: syscall, tags: [x]}, extra_output: '%evt.cpu', extra_fields: [evt.cpu, {a: '%b'}]}\n"
        "host: {name: 'yes'}\n"
        "json_output: on\n"
    )

    assert settings_of(render(settings, comments=False)) == settings
    assert settings.rules == (Selection(disable=Target(rule="*")), Selection(enable=Target(tag="container")))
    assert settings.append_output == (
        AppendOutput(OutputMatch("syscall", None, ("x",)), "%evt.cpu", (ExtraField("evt.cpu"), ExtraField("a", "%b"))),
    )
    assert settings.host.name == "yes"


def test_all_faults_are_reported_at_once_with_their_locations() -> None:
    """An unknown key suggests the nearest one, a bad value lists valid ones."""
    faults = problems_of(
        "prioriti: debug\nfile_output:\n  enabld: true\n  enabled: maybe\nrules: [{disabl: {rule: x}}]\ncollector: 3\n"
    )
    assert [(str(each.location), each.text, each.hint) for each in faults] == [
        ("lanner.yaml:1:1", "there is no setting 'prioriti'.", "did you mean priority?"),
        ("lanner.yaml:3:3", "there is no setting 'file_output.enabld'.", "did you mean file_output.enabled?"),
        ("lanner.yaml:4:12", "file_output.enabled must be true or false, not 'maybe'.", ""),
        ("lanner.yaml:5:10", "there is no setting 'rules[0].disabl'.", "did you mean rules[0].disable?"),
        ("lanner.yaml:6:12", "collector must be a mapping of names to values.", ""),
    ]
    assert str(faults[1]).splitlines() == [
        "lanner.yaml:3:3: there is no setting 'file_output.enabld'.",
        "  3 |   enabld: true",
        "    |   ^^^^^^",
        "  = did you mean file_output.enabled?",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "lanner.yaml:1:5: not YAML"),
        ("priority: debug\npriority: info\n", "lanner.yaml:2:1: 'priority' is given twice, first at lanner.yaml:1:1."),
        ("? [a]\n: b\n", "lanner.yaml:1:3: a key must be a scalar."),
        ("[" * 50 + "]" * 50, "nested too deep"),
        ("a: \x00", "lanner.yaml:1:4: not YAML"),
        ("x" * 2_000_000, "can't be settings"),
        (alias_bomb(), "too big to be settings"),
    ],
)
def test_what_is_no_settings_file_is_refused_in_one_sentence(text: str, message: str) -> None:
    """Bad syntax, duplicate keys, depth bombs and alias bombs are errors with locations."""
    with pytest.raises(BadInput) as caught:
        parse_yaml(text, "lanner.yaml")
    assert message in str(caught.value)


def test_environment_overrides_the_file_and_flags_override_both(tmp_path: Path) -> None:
    """Later sources override earlier ones."""
    file = tmp_path / "lanner.yaml"
    file.write_text("priority: error\nfile_output: {enabled: true, filename: /a}\nlog_level: error\n")

    settings = load_settings(
        file,
        {"LANNER__PRIORITY": "notice", "LANNER__FILE_OUTPUT__FILENAME": "/b", "OTHER": "x"},
        ["priority=critical", "rules[].disable.rule=A*", "rules[].enable.tag=t"],
    )

    assert settings.priority == "critical"
    assert settings.file_output.enabled
    assert settings.file_output.filename == "/b"
    assert settings.log_level == "error"
    assert settings.rules == (Selection(disable=Target(rule="A*")), Selection(enable=Target(tag="t")))


def test_a_fault_in_a_variable_or_flag_names_it() -> None:
    """The message names the source of the bad value."""
    with pytest.raises(BadInput) as caught:
        load_settings(None, {"LANNER__PRIORITY": "high"}, ["jsn_output=true"])
    assert caught.value.messages[0].startswith("environment variable LANNER__PRIORITY: priority must be one of")
    assert caught.value.messages[1] == (
        "-o jsn_output=true: there is no setting 'jsn_output'.\n  = did you mean json_output?"
    )


def test_a_named_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """Silently using defaults would be worse."""
    with pytest.raises(BadInput, match=r"nothing\.yaml: can't be read: No such file"):
        load_settings(tmp_path / "nothing.yaml", {})


SHOWN = """\
webhook_output:
  url: https://hooks.example.com/services/T0/B0/inline-secret?key=inline-secret
  headers: [{name: X-Key, value: inline-secret}, {name: X-Team, value_file: /etc/lanner/key}]
kafka:
  schema_registry_url: https://user:inline-secret@registry.example.com/api
sinks:
  pagerduty: {type: webhook, url: "https://user:inline-secret@events.example.com:8443"}
"""


@pytest.mark.parametrize("form", ["text", "json"])
def test_secrets_that_were_given_inline_are_not_shown(tmp_path: Path, form: str) -> None:
    """Settings in a bug report contain no token, but still show the destinations of alerts."""
    file = tmp_path / "lanner.yaml"
    file.write_text(SHOWN)
    done = CliRunner().invoke(lanner_command, ["config", "show", "-c", str(file), "--format", form])
    assert done.exit_code == 0, done.output
    assert "inline-secret" not in done.output
    for shown in (
        "https://hooks.example.com/***",
        "https://***@events.example.com:8443/",
        "***@registry.example.com/api",
    ):
        assert shown in done.output
    assert "/etc/lanner/key" in done.output


OTHER = 65_533


@pytest.fixture
def another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Enter a folder with a settings file; both belong to another user."""
    file = tmp_path / "lanner.yaml"
    file.write_text("priority: debug\n")
    file.chmod(0o644)
    monkeypatch.chdir(tmp_path)
    if os.geteuid() == 0:
        os.chown(file, OTHER, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: OTHER)
    return file


def test_a_settings_file_of_another_user_is_not_taken_unless_named(another: Path) -> None:
    """Settings name files to write, so another user's must not be used with the caller's privileges."""
    with pytest.raises(BadInput, match="belongs to another user"):
        find_file(None, {})
    assert find_file("lanner.yaml", {}) == Path("lanner.yaml")
    assert find_file(None, {"LANNER_CONFIG": str(another)}) == another


@pytest.mark.skipif("CI" not in os.environ and os.geteuid() != 0, reason="gives files to others")
def test_a_settings_file_that_others_can_change_is_not_taken(another: Path) -> None:
    """By its mode, by its folder, or by another user's link."""
    os.chown(another, 0, 0)
    assert find_file(None, {}) == Path("lanner.yaml")
    another.chmod(0o664)
    with pytest.raises(BadInput, match="can write to it"):
        find_file(None, {})
    another.chmod(0o644)
    another.parent.chmod(0o777)
    with pytest.raises(BadInput, match="can replace it"):
        find_file(None, {})
    another.parent.chmod(0o1777)
    assert find_file(None, {}) == Path("lanner.yaml")
    real = another.rename(another.with_name("real.yaml"))
    another.symlink_to(real)
    assert find_file(None, {}) == Path("lanner.yaml")
    os.chown(another, OTHER, -1, follow_symlinks=False)
    another.parent.chmod(0o755)
    with pytest.raises(BadInput, match="belongs to another user"):
        find_file(None, {})


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        ("webhook_output: {token: made-up-secret, enabled: x}", []),
        ("webhook_output:\n  url: made-up-secret", []),
        ("webhook_output: {headers: [{name: 'a b', value: 'made-up-secret with blanks'}]}", []),
        ("kafka: {prefix: [https://user:made-up-secret@x/]}", []),
        ("", ["webhook_output.url=made-up-secret"]),
        ("", ["webhook_output.headers=[{name: 'a b', value: made-up-secret}]"]),
    ],
)
def test_an_error_shows_no_secret(tmp_path: Path, text: str, flags: list[str]) -> None:
    """Neither of the setting that is wrong nor of another one in its line: messages end up in logs."""
    file = tmp_path / "lanner.yaml"
    file.write_text(text)
    with pytest.raises(BadInput) as caught:
        load_settings(file, {}, flags)
    assert "made-up-secret" not in str(caught.value)
