"""The names of falcosidekick's outputs here, and why some of their settings are not carried over.

Source: falcosidekick's config_example.yaml and types/types.go.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from lanner.importing.draft import reason_in

SWITCHES = {
    "slack": "webhookurl",
    "webhook": "address",
    "alertmanager": "hostport",
    "splunk": "host",
    "syslog": "host",
    "kafka": "hostport",
    "elasticsearch": "hostport",
    "quickwit": "hostport",
}
"""The setting that enables each output that Lanner has an equivalent for."""
APPRISE = {
    "mattermost": "mmosts://HOST/KEY",
    "rocketchat": "rockets://HOST/KEY/#CHANNEL",
    "teams": "workflow://HOST/WORKFLOW/SIGNATURE",
    "discord": "discord://ID/TOKEN",
    "googlechat": "gchat://WORKSPACE/KEY/TOKEN",
    "telegram": "tgram://TOKEN/CHAT",
    "pagerduty": "pagerduty://KEY@API",
    "opsgenie": "opsgenie://KEY",
    "smtp": "mailtos://USER:PASSWORD@HOST?to=ADDRESS",
    "gotify": "gotifys://HOST/TOKEN",
    "webex": "wxteams://TOKEN",
    "mqtt": "mqtts://HOST/TOPIC",
}
"""Outputs that Apprise supports, with the format of their URLs."""
SWITCH_NAMES = (
    *("webhookurl", "hostport", "address", "url", "host", "token", "apikey", "routingkey", "broker", "forwarder"),
    *("functionname", "function", "topicarn", "bucket", "loggroup", "streamname", "projectid", "name", "enabled"),
    *("endpoint", "endpointhost", "eventlistener", "serverurl", "receiverurl", "apitoken", "orguid"),
)
"""Settings that enable the other outputs."""
SWITCHLESS = frozenset(
    {"listenport", "listenaddress", "customfields", "tlsserver", "loki", "influxdb", "nats", "aws", "gcp", "datadog"}
)
LOOKS = frozenset({"footer", "icon", "username", "outputformat", "messageformat"})
DEFAULTS = {
    "debug": "false",
    "slack.outputformat": "all",
    "webhook.method": "post",
    "kafka.async": "false",
    "kafka.tls": "false",
    "kafka.topiccreation": "false",
    "tlsserver.deploy": "false",
    "tlsserver.mutualtls": "false",
    "syslog.protocol": "tcp",
}
OFF = "this output is off, so its settings are left out."
DEFAULT = "is falcosidekick's default, which needs no setting here."
METRICS = "Prometheus reads metrics at the address in http.listen: docs/operate.md."
_BY_TOPIC = (
    "Lanner has no such output: consume the topic siem.falco, which Kafka Connect and other tools read: docs/siem.md."
)
_BY_HTTP = "Lanner has no such output: a webhook with a template can send the request: docs/notifiers.md."
_INSTEAD = {
    "statsd": METRICS,
    "dogstatsd": METRICS,
    "webui": "`lanner console` shows alerts in a browser: docs/console.md.",
    "policyreport": "Lanner writes no objects of Kubernetes: consume the topic siem.falco: docs/siem.md.",
    **dict.fromkeys(
        (
            *("cliq", "cloudevents", "datadog", "datadoglogs", "dynatrace", "fission", "grafana", "grafanaoncall"),
            *("influxdb", "kafkarest", "kubeless", "loki", "n8n", "nodered", "openfaas", "openobserve", "spyderbat"),
            *("sumologic", "talon", "tekton", "zincsearch"),
        ),
        _BY_HTTP,
    ),
}
_COMMON = {
    "checkcert": "certificates are always verified.",
    "mutualtls": "a client certificate can't be set for this sink.",
    "maxconcurrentrequests": "a sink sends one request at a time, so that alerts arrive in order.",
    "minimumpriority": "is not the name of a priority.",
}
_REASONS = {
    "alertmanager.customseveritymap": "the labels of alerts are fixed: docs/notifiers.md.",
    "alertmanager.dropeventdefaultpriority": "losses are alerts with a priority of their own.",
    "alertmanager.dropeventthresholds": "losses are alerts with a priority of their own.",
    "alertmanager.expiresafter": "an alert always resolves: webhook_output.alertmanager.resolve_after_minutes.",
    "alertmanager.extraannotations": "the annotations of alerts are fixed: docs/notifiers.md.",
    "alertmanager.extralabels": "the labels of alerts are fixed: docs/notifiers.md.",
    "bracketreplacer": "the names of fields are not changed.",
    "customtags": "alerts have the tags of their rules.",
    "debug": "`lanner notifier preview SINK` prints what would be sent.",
    "kafka.clientid": "clients have names of their own.",
    "kafka.compression": "compression is zstd, lz4 or none.",
    "kafka.sasl": "the mechanisms are plain, scram-sha-256 and scram-sha-512.",
    "kafka.topiccreation": "`lanner topics create` creates the topics.",
    "mutualtlsclient": "no output that is carried over has a client certificate.",
    "mutualtlsfilespath": "no output that is carried over has a client certificate.",
    "outputfieldformat": "the template of a route changes the text of alerts.",
    "prometheus": METRICS,
    "syslog.port": "is not a port.",
    "tlsclient": "set ca_file of each output.",
    "tlsserver.cacertfile": "tlsserver.mutualtls is off, so no client certificate is required.",
    "tlsserver.notlspaths": "all paths are on one port; /ping and /healthz need no token.",
    "tlsserver.notlsport": "all paths are on one port; /ping and /healthz need no token.",
    "tlsserver": "tlsserver.deploy is off, so its settings are left out.",
    "webhook.method": "requests are POST.",
}


def reason_for(name: str) -> str:
    """Return why a setting is not carried over; empty if there is no reason."""
    return reason_in(_REASONS, name) or _COMMON.get(name.rpartition(".")[2], "")


def instead_of(section: str) -> str:
    """Return what to use instead of an output that Lanner doesn't have."""
    return _INSTEAD.get(section, _BY_TOPIC)


@dataclass(frozen=True, slots=True)
class CarriedSetting:
    """The effect of a setting whose value decides nothing."""

    turns_on: str = ""
    """A sink."""
    put: str = ""
    """The setting that takes the value; `{sink}` is the section of an output over HTTP."""
    path_in: str = ""
    """Instead, the setting that names a file with the value."""
    file: str = ""
    """The name of that file."""
    note: str = ""
    is_covered: bool = False
    """True if others take it into account."""


FORMATS = {"webhook": "falco", "alertmanager": "alertmanager", "splunk": "splunk_hec"}
"""Outputs that become webhooks, with the format of what they send."""
_INDEXED = CarriedSetting(note="configure it in the consumer of the topic siem.ecs.")
_INDEXING = CarriedSetting(
    turns_on="siem.ecs", note="documents go to the topic siem.ecs; docs/siem.md describes how to index them."
)
CARRIED: Mapping[str, CarriedSetting] = {
    "elasticsearch": _INDEXED,
    "elasticsearch.hostport": _INDEXING,
    "quickwit": _INDEXED,
    "quickwit.hostport": _INDEXING,
    "slack.webhookurl": CarriedSetting("slack", path_in="slack_output.webhook_url_file", file="slack-webhook-url"),
    "slack.channel": CarriedSetting(
        note="a webhook has one channel; with a bot token, use slack_output.channel and routes."
    ),
    **{
        f"slack.{key}": CarriedSetting(
            note="the format of messages is fixed; `lanner notifier preview slack` shows it."
        )
        for key in LOOKS
    },
    "splunk.host": CarriedSetting(put="{sink}.url"),
    "splunk.token": CarriedSetting(path_in="{sink}.token_file", file="splunk-token"),
    "syslog.protocol": CarriedSetting(is_covered=True),
    "syslog.format": CarriedSetting(is_covered=True),
    "kafka.topic": CarriedSetting(
        note="alerts go to the topic lanner.siem.falco (kafka.prefix), in Falco's format plus an id."
    ),
    "kafka.username": CarriedSetting(put="kafka.username"),
    "kafka.password": CarriedSetting(path_in="kafka.password_file", file="kafka-password"),
    **{
        f"kafka.{key}": CarriedSetting(
            note="every replica acknowledges each alert, and its key determines the partition."
        )
        for key in ("async", "requiredacks", "balancer")
    },
}
"""By name of a setting, or of an output for all others of it."""
