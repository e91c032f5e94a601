from pathlib import Path
from typing import Any

import yaml

from foundation.yaml.nodes import Node
from lanner.importing.draft import Draft
from lanner.importing.falcosidekick import from_variables, import_falcosidekick
from lanner.settings import load_settings
from lanner.settings.load import parse_yaml
from tests.unit.lanner.program import lanner

WHOLE = """\
listenport: 2801
debug: false
customfields: {Akey: AValue}
mutualtlsfilespath: /etc/certs
slack: {webhookurl: https://hooks.slack.com/services/SECRET1, footer: x, outputformat: all, MinimumPriority: error}
alertmanager:
  hostport: [http://am-1:9093, http://am-2:9093]
  minimumpriority: warning
  expiresafter: 900
  checkcert: false
  mutualtls: true
  customHeaders: {Authorization: Bearer SECRET2, X-Team: SECRET3}
webhook: {minimumpriority: alert, address: "https://x.example/?key=SECRET4"}
elasticsearch: {hostport: "http://es:9200", index: falco, password: SECRET5}
kafka: {hostport: "k1,k2:9093", topic: falco, sasl: SCRAM_SHA512, tls: true, username: u, password: SECRET6,
  minimumpriority: notice}
syslog: {host: log, port: "6514", protocol: udp, format: cef, minimumpriority: critical}
discord: {webhookurl: "https://discord.com/SECRET7", icon: x}
loki: {hostport: "http://loki:3100", apikey: SECRET8}
opsgenie: {apikey: "", region: eu}
statsd: {forwarder: "", namespace: falcosidekick.}
tlsserver: {deploy: true, certfile: /c.crt, keyfile: /c.key, mutualtls: false, cacertfile: /ca.crt}
bracketreplacer: _
"""
URL_FILE = "/etc/lanner/webhook-url"


def tree(text: str) -> Node:
    """Parse settings."""
    return parse_yaml(text, "side.yaml")


def carried(draft: Draft) -> Any:
    """Return what the printed file contains."""
    return yaml.safe_load(draft.text())


def test_each_setting_is_carried_or_has_its_line(tmp_path: Path) -> None:
    """Disabled outputs need no note; the printed file is valid."""
    draft = import_falcosidekick(tree(WHOLE))
    assert carried(draft) == {
        "append_output": [{"extra_fields": [{"Akey": "AValue"}]}],
        "intake": {"listen": "0.0.0.0:2801", "certificate_file": "/c.crt", "key_file": "/c.key"},
        "slack_output": {
            "enabled": True,
            "webhook_url_file": "/etc/lanner/slack-webhook-url",
            "minimum_priority": "error",
        },
        "webhook_output": {
            "enabled": True,
            "format": "alertmanager",
            "url": "http://am-1:9093/api/v2/alerts",
            "minimum_priority": "warning",
            "alertmanager": {"resolve_after_minutes": 15},
            "certificate_file": "/etc/certs/client.crt",
            "key_file": "/etc/certs/client.key",
            "ca_file": "/etc/certs/ca.crt",
            "token_file": "/etc/lanner/alertmanager-token",
            "headers": [{"name": "x-team", "value_file": "/etc/lanner/alertmanager-header-x-team"}],
        },
        "sinks": {"hook": {"type": "webhook", "format": "falco", "minimum_priority": "alert", "url_file": URL_FILE}},
        "kafka": {
            "bootstrap_servers": "k1:9092,k2:9093",
            "security_protocol": "sasl_ssl",
            "sasl_mechanism": "scram-sha-512",
            "username": "u",
            "password_file": "/etc/lanner/kafka-password",
        },
        "syslog_output": {"enabled": True, "host": "log", "transport": "udp", "body": "cef", "port": 6514},
        "apprise_output": {"enabled": True, "urls_file": "/etc/lanner/apprise-urls"},
        "routes": [
            {"sink": "slack"},
            {"sink": "webhook"},
            {"sink": "hook"},
            {"sink": "siem.ecs"},
            {"match": {"priority": "notice"}, "sink": "siem.falco"},
            {"match": {"priority": "critical"}, "sink": "syslog"},
            {"sink": "apprise"},
        ],
    }
    reported = {name for note in draft.notes for name in note.split(": ")[1].split(", ")}
    assert reported == {
        *("debug", "slack.outputformat", "tlsserver.mutualtls", "tlsserver.cacertfile", "opsgenie.region"),
        *("statsd.namespace", "slack.webhookurl", "slack.footer", "alertmanager.hostport", "alertmanager.checkcert"),
        *("alertmanager.customheaders.authorization", "alertmanager.customheaders.x-team", "webhook.address"),
        *("elasticsearch.hostport", "elasticsearch.index", "elasticsearch.password", "kafka.topic", "kafka.password"),
        *("syslog.host", "discord.webhookurl", "discord.icon", "loki.hostport", "loki.apikey", "bracketreplacer"),
    }
    assert draft.notes[1].startswith("side.yaml:5:9: slack.webhookurl: a secret, not copied: write it to /etc/lanner")
    (tmp_path / "lanner.yaml").write_text(draft.text())
    assert load_settings(tmp_path / "lanner.yaml", {}).slack_output.minimum_priority == "error"


def test_no_secret_is_printed(tmp_path: Path) -> None:
    """Neither in the file nor in the notes."""
    (tmp_path / "side.yaml").write_text(WHOLE)
    done = lanner("config", "import", tmp_path / "side.yaml")
    assert done.returncode == 0
    assert "SECRET" not in done.stdout + done.stderr
    assert "lanner notifier slack webhook hook siem.ecs siem.falco syslog apprise -c lanner.yaml" in done.stderr


def test_a_file_of_environment_variables_states_the_same() -> None:
    """As falcosidekick's containers get them, with headers in one variable."""
    read = from_variables(
        "# a comment\nexport SPLUNK_HOST=https://s:8088/services/collector/event\nSPLUNK_TOKEN='SECRET'\n"
        "SPLUNK_MINIMUMPRIORITY=notice\n\nSYSLOG_HOST=log\nLISTENPORT=2802\nWEBHOOK_ADDRESS=\n",
        "side.env",
    )
    assert read is not None
    draft = import_falcosidekick(read)
    assert carried(draft) == {
        "webhook_output": {
            "enabled": True,
            "format": "splunk_hec",
            "url": "https://s:8088/services/collector/event",
            "token_file": "/etc/lanner/splunk-token",
            "minimum_priority": "notice",
        },
        "syslog_output": {"enabled": True, "host": "log", "transport": "tcp", "body": "json"},
        "intake": {"listen": "0.0.0.0:2802"},
    }
    assert draft.notes[0].startswith("side.env:3:1: splunk.token: a secret")
    hook = from_variables("WEBHOOK_ADDRESS=https://x.example/\nWEBHOOK_CUSTOMHEADERS=X-A:b,X-C:d\n", "side.env")
    assert hook is not None
    assert [each["name"] for each in carried(import_falcosidekick(hook))["webhook_output"]["headers"]] == ["x-a", "x-c"]


def test_what_our_check_refuses_is_taken_out_and_reported() -> None:
    """An invalid port or priority must not make a file that doesn't load."""
    draft = import_falcosidekick(
        tree("syslog: {host: log, port: 99999999999}\nslack: {webhookurl: x, minimumpriority: y}")
    )
    assert carried(draft)["syslog_output"] == {"enabled": True, "host": "log", "transport": "tcp", "body": "json"}
    assert any(note.startswith("syslog_output.port: not converted") for note in draft.notes)


def test_a_file_of_neither_is_an_error(tmp_path: Path) -> None:
    """Lanner's own file is neither, and an unreadable file is an error."""
    (tmp_path / "x.yaml").write_text("kafka: {prefix: x.}\nslack_output: {enabled: true}\n")
    for name, reported in (("x.yaml", "not a settings file of falcosidekick or Falco"), ("y.yaml", "can't be read")):
        done = lanner("config", "import", tmp_path / name)
        assert (done.returncode, done.stdout) == (1, "")
        assert reported in done.stderr


def test_fields_for_each_alert_become_appended_output() -> None:
    """A template that is one field is a format; others, and variables, have a line."""
    text = """\
slack: {webhookurl: x}
customfields: {Team: blue, home: "%HOME"}
templatedfields: {ns: '{{ index . "k8s.ns.name" }}', other: '{{ or (index . "a.b") "c" }}'}
"""
    draft = import_falcosidekick(tree(text))
    assert carried(draft)["append_output"] == [{"extra_fields": [{"Team": "blue"}, {"ns": "%k8s.ns.name"}]}]
    reported = {note.split(": ")[1] for note in draft.notes}
    assert reported == {"slack.webhookurl", "customfields.home", "templatedfields.other"}
