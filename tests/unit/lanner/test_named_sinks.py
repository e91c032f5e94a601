import json
from pathlib import Path

import pytest

from foundation.text import ignore_note
from lanner.dead_letters import report_orphaned_outboxes
from lanner.errors import BadInput
from lanner.settings import Settings, load_settings
from lanner.settings.shown import render
from lanner.wiring.routers import enabled_sinks, open_sinks, routing_table
from lanner.wiring.sinks.registry import open_sink
from lanner.wiring.stages.notifier import preview
from notifier.sink import SinkStats
from tests.notes import into
from tests.unit.alerts import alert

TWO = """\
webhook_output: {url: http://127.0.0.1:9/all}
sinks:
  pagerduty: {type: webhook, url: http://127.0.0.1:9/pd, format: alertmanager, minimum_priority: error}
  audit: {type: file, filename: FOLDER/audit.log, format: json}
  later: {type: syslog, enabled: false, transport: tcp}
routes:
  - {match: {rule: 'Read*'}, sink: pagerduty, template: 'page %fd.name'}
  - {sink: audit}
"""


def settings(tmp_path: Path, text: str) -> Settings:
    """Read settings from a file."""
    path = tmp_path / "lanner.yaml"
    path.write_text(text.replace("FOLDER", str(tmp_path)))
    return load_settings(path, {})


def test_a_named_sink_has_its_own_format_routes_and_least_priority(tmp_path: Path) -> None:
    """A named sink is independent of the built-in one of its type."""
    configured = settings(tmp_path, TWO)
    table = routing_table(configured, pytest.fail)
    severe = alert(rule="Read x", priority="Error")

    assert table.router("pagerduty", SinkStats())(severe) is not None
    assert table.router("pagerduty", SinkStats())(alert(rule="Read x", priority="Warning")) is None
    assert table.router("webhook", SinkStats())(severe) is None
    assert "page " in json.loads(preview(configured, "pagerduty", severe, pytest.fail))[0]["annotations"]["summary"]


def test_run_opens_the_named_ones_that_are_on(tmp_path: Path) -> None:
    """They are enabled by default, and have their own names in metrics and the summary."""
    text = TWO + f"notifier: {{state_dir: {tmp_path}/state}}\nstdout_output: {{enabled: false}}\n"
    configured = settings(tmp_path, text)
    sinks = open_sinks(configured, enabled_sinks(configured), note=ignore_note, before_line=lambda: None)
    try:
        for sink in sinks:
            sink.deliver(alert(rule="Write", id="one"))
        assert [sink.name for sink in sinks] == ["pagerduty", "audit"]
    finally:
        for sink in sinks:
            sink.close()
    assert json.loads((tmp_path / "audit.log").read_text())["id"] == "one"
    assert (tmp_path / "state" / "pagerduty.outbox.db").exists()


def test_alerts_that_wait_for_a_sink_that_is_gone_are_reported(tmp_path: Path) -> None:
    """The message names the orphaned file."""
    text = f"notifier: {{state_dir: {tmp_path}/state}}\nstdout_output: {{enabled: false}}\n"
    text += "sinks: {pages: {type: webhook, url: 'http://127.0.0.1:9/'}}\n"
    configured = settings(tmp_path, text)
    for sink in open_sinks(configured, enabled_sinks(configured), note=ignore_note, before_line=lambda: None):
        sink.deliver(alert(id="one"))
        sink.close()

    reported: list[str] = []
    report_orphaned_outboxes(tmp_path / "state", ["pages"], into(reported))
    assert reported == []
    report_orphaned_outboxes(tmp_path / "state", ["webhook"], into(reported))
    assert reported == [
        f"pages: 1 alert in {tmp_path}/state/pages.outbox.db, but no sink is configured that delivers them."
    ]


def test_its_secrets_are_its_own(tmp_path: Path) -> None:
    """The built-in sink's secrets are not sent to other URLs, and messages name the right variables."""
    configured = settings(tmp_path, "sinks: {hec: {type: webhook, url: 'http://127.0.0.1:9/', format: splunk_hec}}")

    with pytest.raises(BadInput) as raised:
        open_sink(configured, "hec", environment={"LANNER_WEBHOOK_TOKEN": "made-up-token"})
    assert raised.value.messages == ("no token for Splunk.\n  = set sinks.hec.token_file or $LANNER_SINK_HEC_TOKEN",)
    open_sink(configured, "hec", environment={"LANNER_SINK_HEC_TOKEN": "made-up-token"}).close()


def test_what_is_wrong_with_one_is_reported_under_its_name(tmp_path: Path) -> None:
    """An invalid path, and a sink that a reload removed, are reported under the sink's name."""
    configured = settings(tmp_path, "sinks: {audit: {type: file, filename: /proc/no/such}}\n")

    with pytest.raises(BadInput, match=r"^sinks.audit.filename: /proc/no/such: "):
        open_sinks(configured, enabled_sinks(configured), note=pytest.fail, before_line=lambda: None)
    with pytest.raises(BadInput, match=r"^sinks.pages is no longer in the settings"):
        open_sink(configured, "pages")


def test_settings_with_named_sinks_read_back_as_they_were(tmp_path: Path) -> None:
    """As `config show` prints them."""
    configured = settings(tmp_path, TWO)
    assert settings(tmp_path, render(configured, comments=False)) == configured


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sinks: {pd: {url: x}}", r"lanner.yaml:1:9: sinks.pd.type must be one of file, syslog, slack"),
        ("sinks: {pd: {type: sms}}", r"lanner.yaml:1:20: sinks.pd.type must be one of"),
        (
            "sinks: {pd: {type: webhook, ulr: x}}",
            r"1:29: there is no setting 'sinks.pd.ulr'.\n.*\n.*\n  = did you mean sinks.pd.url",
        ),
        ("sinks: {slack: {type: slack}}", r"1:9: sinks.slack: this name is taken"),
        ("sinks: {Pager-Duty: {type: slack}}", r"1:9: sinks.Pager-Duty: this name must be of a-z"),
        ("sinks: [pd]", r"1:8: sinks must be a mapping of names to sinks"),
        ("sinks: {pd: webhook}", r"1:9: sinks.pd.type must be one of"),
        ("routes: [{sink: syslog}, {sink: pagerdty}]", r"1:33: routes\[1\].sink must be one of stdout, .*'pagerdty'"),
    ],
)
def test_a_mistake_is_reported_with_its_location(tmp_path: Path, text: str, said: str) -> None:
    """Wrong types, names and keys, and routes to unknown sinks, have locations."""
    with pytest.raises(BadInput, match=said):
        settings(tmp_path, text)
