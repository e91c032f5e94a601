import re
from collections.abc import Callable
from pathlib import Path
from typing import Never

import pytest
from click.testing import CliRunner

from lanner.cli.app import Options, lanner_command
from lanner.errors import BadInput
from lanner.ruleset.compile import CompiledDetection
from lanner.wiring.check import check_settings
from lanner.wiring.stages.collector import Source
from lanner.wiring.stages.single_host import Pipeline
from schemas.batch import EventBatch
from tests.unit.lanner.operations.test_readings import NoEvents
from tests.unit.lanner.wiring.stages.wrong_settings import RIGHT, WRONG

RULE = """\
- {rule: A, desc: d, output: o, priority: INFO, tags: [a],
   condition: evt.type = openat and fd.name = /a}
"""
PLACE = re.compile(r"\d+:\d+: ")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with the files that the settings name."""
    for name in ("LANNER_CONFIG", "LANNER_SLACK_TOKEN", "LANNER_WEBHOOK_URL", "LANNER_WEBHOOK_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    for name, text in {
        "rules.yaml": RULE,
        "broken.yaml": RULE.replace("evt.type", "evt.typ"),
        "file": "",
        "secret": "made-up-secret",
        "url": "https://127.0.0.1:9/x",
        "bad.j2": "{{ alert.",
        "good.j2": '{"rule": "{{ rule }}"}',
    }.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o600)
    return tmp_path


def written(folder: Path, text: str) -> list[str]:
    """Write settings and return the flags that name them, with a rule file unless they name theirs."""
    config = folder / "lanner.yaml"
    state = "" if "notifier:" in text else f"notifier: {{state_dir: {folder}/state}}\n"
    config.write_text(f"{text}\n{state}".replace("FOLDER", str(folder)))
    return ["-c", str(config), *([] if "rules_files" in text else ["-r", str(folder / "rules.yaml")])]


def refusal(*words: str) -> tuple[str, ...]:
    """Return the messages with which a command refuses its settings."""
    done = CliRunner().invoke(lanner_command, words)
    assert isinstance(done.exception, BadInput), (words, done.output, done.exception)
    return done.exception.messages


@pytest.mark.parametrize("text", WRONG)
def test_what_run_refuses_the_check_refuses_with_the_same_messages(
    folder: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """All errors at once, each with its place and a hint, and no other."""
    # Its thread would end with a process of its own; here the kernel would go on verifying the program.
    monkeypatch.setattr("lanner.wiring.program.load_program", lambda _: None)
    flags = written(folder, text)
    checked = refusal("config", "check", *flags)
    assert refusal("run", *flags) == checked
    assert len(checked) == max(1, sum(PLACE.match(part) is not None for part in WRONG[text])), checked
    for part in WRONG[text]:
        expected = part.replace("FOLDER", str(folder))
        assert any(expected in message.replace(f"{folder}/lanner.yaml:", "") for message in checked), checked


@pytest.mark.parametrize("text", RIGHT)
def test_run_starts_with_what_the_check_accepted(folder: Path, text: str) -> None:
    """The check itself writes nothing."""
    flags = written(folder, text)
    before = sorted(folder.rglob("*"))
    done = CliRunner().invoke(lanner_command, ["config", "check", *flags], catch_exceptions=False)
    assert (done.exit_code, done.stdout) == (0, f"{folder}/lanner.yaml: valid\n")
    assert sorted(folder.rglob("*")) == before

    loaded = Options(config=flags[1], rules=tuple(flags[3:]), set=(f"memory.filename={folder}/memory",)).load()
    detection = check_settings(loaded, "run")
    assert detection is not None

    def source(_: CompiledDetection, take: Callable[[EventBatch], None]) -> Source:
        del take
        return NoEvents()

    def unchanged() -> Never:
        raise AssertionError

    Pipeline(loaded.settings, detection, source, reload=unchanged, quiet=True).run(until=lambda: True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no source: set kubernetes_audit.listen"),
        (
            "kubernetes_audit: {topic: {name: a, bootstrap_servers: b}}",
            "topic.username and kubernetes_audit.topic.pass",
        ),
        (
            "kubernetes_audit: {topic: {name: a, bootstrap_servers: b, password_file: /nope}}",
            "topic.password_file: /nope",
        ),
        ("kubernetes_audit: {listen: 'a:0', token_file: FOLDER/file}", "token_file: FOLDER/file: the file is empty"),
        ("kubernetes_audit: {listen: 'a:0', client_ca_file: FOLDER/file}", "certificate_file must be set where"),
        ("kubernetes_audit: {listen: 'a:0', certificate_file: FOLDER/file}", "certificate_file: FOLDER/file: "),
    ],
)
def test_the_intake_of_audit_events_is_checked(folder: Path, text: str, message: str) -> None:
    """The check names what would make the start fail."""
    (found,) = refusal("config", "check", "--for", "intake", *written(folder, text)[:2])

    assert message.replace("FOLDER", str(folder)) in found


@pytest.mark.parametrize(
    ("stage", "text", "message"),
    [
        ("collector", "collector: {actions: {enabled: [kill]}}", "no intent would be accepted: set"),
        (
            "collector",
            "collector: {identity: off, actions: {enabled: [kill], people_key_files: [FOLDER/file]}}",
            "anybody could report events of this host",
        ),
        ("processor", "collector: {identity: off}\nactions: {key_file: FOLDER/file}", "which host sent an event"),
    ],
)
def test_a_fleet_acts_only_where_it_is_known_who_sent_what(folder: Path, stage: str, text: str, message: str) -> None:
    """The check names the setting that would make hosts act on anybody's word."""
    kafka = f"kafka: {{bootstrap_servers: '127.0.0.1:9', spool_dir: {folder}/spool}}\n"
    found = refusal("config", "check", "--for", stage, *written(folder, kafka + text))

    assert any(message in each for each in found), found
