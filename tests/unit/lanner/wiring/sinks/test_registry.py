import json
import subprocess
import sys
from pathlib import Path

import pytest

from lanner.errors import BadInput
from lanner.settings import Settings, load_settings
from lanner.settings.named import BUILT_IN
from lanner.wiring.single_host.sinks import open_sinks
from lanner.wiring.sinks.preview import preview
from lanner.wiring.sinks.registry import addresses_of
from notifier.delivery.outcome import RoutedAlert
from notifier.delivery.stats import SinkStats
from notifier.local.adapters import RoutedSink
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
def test_the_template_of_a_route_is_what_its_sink_says(tmp_path: Path, sink: str) -> None:
    """In each sink that says a text; a missing value shows as Falco shows it."""
    routes = f"  - {{sink: {sink}, template: 'Look at %fd.name, pod %k8s.pod.name'}}\n"
    for form in ("falco", "splunk_hec", "alertmanager"):
        wanted = settings(tmp_path, TEMPLATES.replace("FORMAT", form) + routes)
        said = preview(wanted, sink, alert(output_fields={"fd.name": "x"}), note=pytest.fail)
        assert "Look at x, pod" in said
        assert "A file was read" not in said


def test_a_route_that_can_not_be_is_said_at_the_start(tmp_path: Path) -> None:
    """A document has no text, and only Slack has channels."""
    for text, said in (
        ("routes: [{sink: siem.ecs, template: x}]", r"routes\[0\].template: siem.ecs has documents"),
        ("routes: [{sink: syslog}, {sink: webhook, channel: x}]", r"routes\[1\].channel: webhook has none"),
    ):
        with pytest.raises(BadInput, match=said):
            addresses_of(settings(tmp_path, text), pytest.fail)


def test_each_sink_of_its_own_minimum_priority(tmp_path: Path) -> None:
    """A debug alert is nothing for people, and all for a SIEM."""
    addresses = addresses_of(settings(tmp_path, ""), pytest.fail)
    made = alert(priority="Debug")
    wanted = {sink: addresses(sink, SinkStats())(made) for sink in BUILT_IN}
    assert {sink for sink, parcel in wanted.items() if parcel is None} == {"slack", "apprise"}
    assert wanted["webhook"] == RoutedAlert(made)


def test_routes_and_mutes_hold_for_files_of_one_process_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With `run`, a line has the text of its route, and what is muted has no line."""
    text = """\
routes:
  - {sink: file, template: 'in other words'}
mute: [{match: {rule: Noise}}]
"""
    path = tmp_path / "alerts"
    sinks = open_sinks(
        settings(tmp_path, text, "file_output.enabled=true", f"file_output.filename={path}", "file_output.format=json"),
        note=pytest.fail,
        before_line=lambda: None,
    )
    for each in sinks:
        each.send(alert())
        each.send(alert(rule="Noise"))
        each.close()
    stdout, file = sinks
    assert isinstance(stdout, RoutedSink)
    assert isinstance(file, RoutedSink)
    assert (file.delivery.sent, file.delivery.muted, file.delivery.suppressed) == (1, 1, 0)
    assert (stdout.delivery.sent, stdout.delivery.muted, stdout.delivery.suppressed) == (0, 1, 1)
    (line,) = path.read_text().splitlines()
    assert json.loads(line)["output"].endswith(": Warning in other words")
    assert capsys.readouterr().out == ""


def test_a_preview_needs_neither_an_address_nor_secrets(tmp_path: Path) -> None:
    """It shows the body as a receiver gets it, and a template's mistake by its line."""
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
import lanner.wiring.single_host.pipeline, lanner.wiring.sinks.preview
from lanner.wiring.sinks.registry import receiver_of
from lanner.errors import BadInput
from lanner.settings import load_settings
for sink in ("webhook", "apprise", "slack"):
    try:
        receiver_of(load_settings(None, {}), sink, environment={"LANNER_APPRISE_URLS": "json://x"})
    except BadInput as error:
        print(*error.messages)
"""


def test_a_plain_installation_runs_and_says_what_a_sink_needs() -> None:
    """Libraries of sinks are asked for only by those sinks."""
    done = subprocess.run([sys.executable, "-c", _BARE], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines() == [
        "webhook_output needs urllib3: pip install 'lanner[notifier]'.",
        "apprise_output needs apprise: pip install 'lanner[apprise]'.",
        "slack_output needs slack-sdk: pip install 'lanner[notifier]'.",
    ]
