import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from foundation.text import ignore_note
from lanner.errors import BadInput
from lanner.settings import Settings, load_settings
from lanner.settings.sections.model import BUILT_IN, KINDS
from lanner.wiring.routers import enabled_sinks, open_sinks, routing_table
from lanner.wiring.sinks.kinds import Opener, SinkContext, SinkKind
from lanner.wiring.sinks.registry import SINKS
from lanner.wiring.stages.notifier import preview
from notifier.sink import Delivered, RetryLater, RoutedAlert, SendOutcome, SinkStats
from tests.unit.alerts import alert
from tests.unit.lanner.program import lanner

TEMPLATES = """\
webhook_output: {format: FORMAT}
syslog_output: {transport: tcp}
file_output: {format: json}
routes:
"""


def settings(tmp_path: Path, text: str, *flags: str) -> Settings:
    """Read settings from a file."""
    path = tmp_path / "lanner.yaml"
    path.write_text(text)
    return load_settings(path, {}, flags)


@pytest.mark.parametrize("sink", [sink for sink in BUILT_IN if not sink.startswith("siem.")])
def test_the_template_of_a_route_sets_the_text_of_its_sink(tmp_path: Path, sink: str) -> None:
    """In every sink that sends text; a missing value is shown as by Falco."""
    routes = f"  - {{sink: {sink}, template: 'Look at %fd.name, pod %k8s.pod.name'}}\n"
    for form in ("falco", "splunk_hec", "alertmanager"):
        expected = settings(tmp_path, TEMPLATES.replace("FORMAT", form) + routes)
        said = preview(expected, sink, alert(output_fields={"fd.name": "x"}), report=pytest.fail)
        assert "Look at x, pod" in said
        assert "A file was read" not in said


def test_an_impossible_route_is_an_error_at_start(tmp_path: Path) -> None:
    """Documents have no text to replace, and only Slack has channels."""
    for text, said in (
        ("routes: [{sink: siem.ecs, template: x}]", r"routes\[0\].template: siem.ecs sends documents"),
        ("routes: [{sink: syslog}, {sink: webhook, channel: x}]", r"routes\[1\].channel: webhook has no channels"),
    ):
        with pytest.raises(BadInput, match=said):
            routing_table(settings(tmp_path, text), pytest.fail)


def test_each_sink_has_its_own_minimum_priority(tmp_path: Path) -> None:
    """By default people get no debug alerts, but SIEMs do."""
    table = routing_table(settings(tmp_path, ""), pytest.fail)
    made = alert(priority="Debug")
    expected = {sink: table.router(sink, SinkStats())(made) for sink in BUILT_IN}
    assert {sink for sink, routed in expected.items() if routed is None} == {"slack", "apprise"}
    assert expected["webhook"] == RoutedAlert(made)


def test_routes_and_mutes_apply_to_sinks_of_run_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line has the text of its route, and a muted alert has no line."""
    text = """\
routes:
  - {sink: file, template: 'in other words'}
mute: [{match: {rule: Noise}}]
"""
    path = tmp_path / "alerts"
    flags = ("file_output.enabled=true", f"file_output.filename={path}", "file_output.format=json")
    expected = settings(tmp_path, text, *flags)
    sinks = open_sinks(expected, enabled_sinks(expected), note=pytest.fail, before_line=lambda: None)
    for each in sinks:
        each.deliver(alert())
        each.deliver(alert(rule="Noise"))
        each.close()
    stdout, file = sinks
    assert (file.stats.sent, file.stats.muted, file.stats.not_routed) == (1, 1, 0)
    assert (stdout.stats.sent, stdout.stats.muted, stdout.stats.not_routed) == (0, 1, 1)
    (line,) = path.read_text().splitlines()
    assert json.loads(line)["output"].endswith(": Warning in other words")
    assert capsys.readouterr().out == ""


def test_a_preview_needs_neither_a_url_nor_secrets(tmp_path: Path) -> None:
    """It prints the body of the request, and a template's error with its line."""
    event = tmp_path / "alert.json"
    event.write_text(
        json.dumps({"rule": "A rule", "priority": "Error", "time": "2026-11-24T03:55:58.1Z", "output": "Said"})
    )
    shown = lanner(
        "notifier", "preview", "webhook", "--event", event, "-o", "webhook_output.format=splunk_hec", cwd=tmp_path
    )
    assert json.loads(shown.stdout)["event"]["rule"] == "A rule"
    (tmp_path / "body.j2").write_text("{\n{{ no_such }}}")
    template = ["-o", "webhook_output.format=template", "-o", "webhook_output.template_file=body.j2"]
    failed = lanner("notifier", "preview", "webhook", "--event", event, *template, cwd=tmp_path)
    assert (failed.returncode, failed.stderr) == (1, "error: body.j2:2: 'no_such' is undefined.\n")


_BARE = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("urllib3", "jinja2", "slack_sdk", "apprise", "confluent_kafka", "aiohttp"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing())
import lanner.wiring.stages.single_host, lanner.wiring.stages.notifier
from lanner.wiring.sinks.registry import open_sink
from lanner.errors import BadInput
from lanner.settings import load_settings
for sink in ("webhook", "apprise", "slack"):
    try:
        open_sink(load_settings(None, {}), sink, environment={"LANNER_APPRISE_URLS": "json://x"})
    except BadInput as error:
        print(error.messages[0].split("\\n")[0])
"""


def test_a_plain_installation_runs_and_names_the_library_that_a_sink_needs() -> None:
    """Only the sinks that need a library import it."""
    done = subprocess.run([sys.executable, "-c", _BARE], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines() == [
        "webhook_output needs the urllib3 library.",
        "apprise_output needs the apprise library.",
        "slack_output needs the slack-sdk library.",
    ]


@dataclass(frozen=True, slots=True)
class _MemoryOutput:
    """The settings of a made-up sink."""

    enabled: bool = True
    minimum_priority: str = "debug"
    mark: str = "?"


class _MemorySink:
    """A made-up sink that stores what it gets, and fails the first time."""

    batch_size = 10

    def __init__(self, mark: str) -> None:
        self.mark = mark
        self.got: list[str] = []
        self.failures = 1

    def send(self, alerts: Sequence[RoutedAlert]) -> SendOutcome:
        if self.failures:
            self.failures -= 1
            return RetryLater("not yet", 0.0)
        self.got += [f"{self.mark} {each.rendered.output}" for each in alerts]
        return Delivered(len(alerts))

    def idle(self) -> None:
        return

    def reopen(self) -> None:
        return

    def close(self) -> None:
        return


def test_a_new_sink_is_its_module_its_section_and_one_line_of_the_registry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With these three, `run` delivers to it by routes and through an outbox, and it can be previewed."""
    opened: list[_MemorySink] = []

    def prepare_memory(context: SinkContext) -> Opener:
        def open_memory() -> _MemorySink:
            opened.append(_MemorySink(context.section.mark))
            return opened[-1]

        return open_memory

    monkeypatch.setitem(KINDS, "memory", _MemoryOutput)  # type: ignore[arg-type]
    monkeypatch.setitem(SINKS, "memory", SinkKind(prepare_memory))
    text = f"notifier: {{state_dir: {tmp_path}/state}}\nroutes: [{{sink: mine, template: 'on %evt.hostname'}}]\n"
    text += "sinks: {mine: {type: memory, mark: '!'}}\nstdout_output: {enabled: false}\n"
    expected = settings(tmp_path, text)
    (delivery,) = open_sinks(expected, enabled_sinks(expected), note=ignore_note, before_line=lambda: None)
    delivery.deliver(alert(id="one"))
    until = time.monotonic() + 20
    while not delivery.stats.sent and time.monotonic() < until:
        time.sleep(0.01)
    delivery.close()

    assert (delivery.name, delivery.stats.sent, delivery.stats.retried) == ("mine", 1, 1)
    assert opened[0].got == ["! on web-3"]
    assert preview(expected, "mine", alert(), pytest.fail).endswith("on web-3")
