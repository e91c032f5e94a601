"""Conversion of falcosidekick's settings.

Source: its config_example.yaml and docs/outputs. Names there are case-insensitive, and an output is enabled if its
first setting has a value.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import urlsplit

from foundation.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode, SourceFile
from lanner.importing.draft import Draft, ImportedSetting, found_in
from lanner.importing.falcosidekick_outputs import (
    APPRISE,
    CARRIED,
    DEFAULT,
    DEFAULTS,
    FORMATS,
    OFF,
    SWITCH_NAMES,
    SWITCHES,
    SWITCHLESS,
    CarriedSetting,
    instead_of,
    reason_for,
)
from lanner.settings.load import with_value
from schemas.catalog.priorities import BY_NAME

_GENERAL = frozenset(
    {
        *("bracketreplacer", "customfields", "customtags", "debug", "listenaddress", "listenport", "mutualtlsclient"),
        *("mutualtlsfilespath", "outputfieldformat", "prometheus", "templatedfields", "tlsclient", "tlsserver"),
    }
)
"""Settings of no output."""
_TEMPLATE = re.compile(r"""\{\{-?\s*index\s+\.(?:OutputFields)?\s*["']([a-z][\w.]*(?:\[\w+\])?)["']\s*-?\}\}""")
"""A Go template that is one field."""
_NESTED = frozenset({"aws", "azure", "gcp", "otlp", "yandex"})
"""Outputs with sections of their own: AWS_S3_BUCKET is aws.s3.bucket."""
_MECHANISMS = {"plain": "plain", "scram_sha256": "scram-sha-256", "scram_sha512": "scram-sha-512"}
_VARIABLE = re.compile(r"^(?:export )?([A-Z][A-Z0-9_]*)=(.*)$", re.MULTILINE)
_SIGNS = (frozenset(SWITCHES) | frozenset(APPRISE) | SWITCHLESS) - {"kafka"}
"""Sections that only falcosidekick has; Lanner has `kafka` too."""


def is_falcosidekick(tree: Node) -> bool:
    """Return whether settings are falcosidekick's."""
    return isinstance(tree, MappingNode) and not _SIGNS.isdisjoint(key.value.lower() for key in tree.names())


def from_variables(text: str, source: str) -> Node | None:
    """Parse falcosidekick's other format, a file of environment variables; None if the text is something else."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if not lines or any(_VARIABLE.match(line) is None for line in lines):
        return None
    file = SourceFile(source, text)
    tree: Node = MappingNode(file, 0, 0, ())
    for found in _VARIABLE.finditer(file.text):
        location = (file, found.start(), found.end())
        section, _, key = found[1].lower().partition("_")
        value = found[2].strip().strip("\"'")
        # Quoted, since in a variable even `null` is a text.
        leaf: Node = ScalarNode(*location, value, '"')
        if (key or section) in ("customheaders", "customfields", "templatedfields"):
            headers = (pair.split(":", 1) for pair in value.split(",") if ":" in pair)
            pairs = tuple((ScalarNode(*location, n.strip()), ScalarNode(*location, v.strip(), '"')) for n, v in headers)
            leaf = MappingNode(*location, pairs)
        path = [section, *(key.split("_") if section in _NESTED else [key] if key else [])]
        tree = with_value(tree, path, leaf)
    return tree


def import_falcosidekick(tree: Node) -> Draft:
    """Convert falcosidekick's settings; notes name the settings without an equivalent."""
    return _Import(list(found_in(tree))).run()


class _Import:
    def __init__(self, found: Sequence[ImportedSetting]) -> None:
        self._found = found
        self._by_name = {each.name: each for each in found}
        self._draft = Draft()
        self._apprised: set[str] = set()
        self._hooks: dict[str, str] = {}
        """By section of an output over HTTP, where it goes: the built-in webhook, or a named sink."""
        self._headers: dict[str, list[dict[str, str]]] = {}
        self._fields: list[dict[str, str]] = []
        self._least: dict[str, str] = {}
        """Minimum priority of a sink that has no setting for it: it becomes a route."""

    def run(self) -> Draft:
        handlers: Mapping[str, Callable[[ImportedSetting, str, str], None]] = {
            "slack": lambda each, key, _: self._priority(each, key, "slack_output"),
            "webhook": self._hook,
            "alertmanager": self._alertmanager,
            "splunk": lambda each, key, sink: self._http(each, key, sink, "splunk"),
            "syslog": self._syslog,
            "kafka": self._kafka,
        }
        for each in self._found:
            with self._draft.accounting(each):
                section, _, key = each.name.partition(".")
                if DEFAULTS.get(each.name) == each.text.lower() and each.text:
                    self._draft.note(each, DEFAULT, shared=True)
                elif section in _GENERAL:
                    self._general(each, section, key)
                elif not self._is_on(section):
                    self._draft.note(each, OFF, shared=True)
                elif section in APPRISE:
                    self._apprise(each, section, key)
                else:
                    sink = self._http_sink(section) if section in FORMATS else ""
                    if (carried := CARRIED.get(each.name) or CARRIED.get(section)) is not None:
                        self._carry(each, carried, sink)
                    elif section in handlers:
                        handlers[section](each, key, sink)
                    else:
                        self._draft.note(each, instead_of(section))
                if self._draft.is_open and (reason := reason_for(each.name)):
                    self._draft.note(each, reason)
        self._routes()
        return self._draft

    def _is_on(self, section: str) -> bool:
        """Return whether an output is enabled."""
        if section in SWITCHES:
            return f"{section}.{SWITCHES[section]}" in self._by_name
        return any(
            name.partition(".")[0] == section and name.rpartition(".")[2] in SWITCH_NAMES and found.text != "false"
            for name, found in self._by_name.items()
        )

    def _general(self, each: ImportedSetting, section: str, key: str) -> None:
        if section in ("listenaddress", "listenport") or (each.name, each.text.lower()) == ("tlsserver.deploy", "true"):
            address = self._text("listenaddress") or "0.0.0.0"  # noqa: S104  falcosidekick's own default
            host = f"[{address}]" if ":" in address else address
            self._draft.put("intake.listen", f"{host}:{self._text('listenport') or '2801'}")
        elif section == "tlsserver":
            served = {"certfile": "certificate_file", "keyfile": "key_file", "cacertfile": "client_ca_file"}
            is_served = self._text("tlsserver.deploy") == "true"
            if key in served and is_served and (key != "cacertfile" or self._text("tlsserver.mutualtls") == "true"):
                self._draft.put(f"intake.{served[key]}", each.text)
            elif key == "mutualtls" and is_served:
                self._draft.cover()
        elif section in ("mutualtlsclient", "mutualtlsfilespath"):
            if any(self._text(f"{name}.mutualtls") == "true" for name in FORMATS if self._is_on(name)):
                self._draft.cover()
        elif section in ("customfields", "templatedfields"):
            self._field(each)

    def _field(self, each: ImportedSetting) -> None:
        """Convert a field that is added to each alert."""
        template = _TEMPLATE.fullmatch(each.text)
        if each.name.startswith("customfields") and each.text.startswith("%"):
            self._draft.note(each, "the value of an environment variable can't be added: write it into append_output.")
        elif "{{" not in each.text and "%" not in each.text:
            self._add_field(each.key, each.text)
        elif template is not None:
            self._add_field(each.key, f"%{template[1]}")
        else:
            self._draft.note(
                each, "templates of Go are not converted: write a format such as %proc.name into append_output."
            )

    def _add_field(self, name: str, form: str) -> None:
        self._fields.append({name: form})
        self._draft.put("append_output", [{"extra_fields": self._fields}])

    def _carry(self, each: ImportedSetting, setting: CarriedSetting, sink: str) -> None:
        """Convert a setting by its row of the table. sink: the section of an output over HTTP."""
        if setting.turns_on:
            self._draft.turn_on(setting.turns_on)
        if setting.put:
            self._draft.put(setting.put.format(sink=sink), each.text)
        if setting.path_in:
            self._draft.secret(each, setting.path_in.format(sink=sink), setting.file)
        if setting.note:
            self._draft.note(each, setting.note)
        if setting.is_covered:
            self._draft.cover()

    def _hook(self, each: ImportedSetting, key: str, target: str) -> None:
        if key != "address":
            self._http(each, key, target, "webhook")
            return
        parts = urlsplit(each.text)
        if parts.query or parts.username or parts.password:
            self._draft.secret(each, f"{target}.url_file", "webhook-url")
        else:
            self._draft.put(f"{target}.url", each.text)

    def _alertmanager(self, each: ImportedSetting, key: str, target: str) -> None:
        if key == "hostport":
            hosts = each.value.items if isinstance(each.value, SequenceNode) else (each.value,)
            texts = [text for host in hosts if isinstance(host, ScalarNode) for text in (host.text or "").split(",")]
            self._draft.put(f"{target}.url", f"{texts[0].strip().rstrip('/')}/api/v2/alerts")
            if len(texts) > 1:
                self._draft.note(
                    each,
                    "only the first was converted: a cluster's members don't share alerts; add a named sink for each.",
                )
        elif key == "expiresafter" and each.text.isdigit() and int(each.text):
            self._draft.put(f"{target}.alertmanager.resolve_after_minutes", max(1, int(each.text) // 60))
        elif key == "endpoint" and each.text == "/api/v2/alerts":
            self._draft.cover()
        elif key == "endpoint":
            self._draft.note(each, "Alertmanager 0.27 removed API v1: v2 is used.")
        else:
            self._http(each, key, target, "alertmanager")

    def _syslog(self, each: ImportedSetting, key: str, _: str) -> None:
        if key == "host":
            self._draft.turn_on("syslog")
            self._draft.put("syslog_output.host", each.text)
            self._draft.put("syslog_output.transport", "udp" if self._text("syslog.protocol") == "udp" else "tcp")
            self._draft.put("syslog_output.body", "cef" if self._text("syslog.format") == "cef" else "json")
            self._draft.note(each, "messages are RFC 5424 with octet counting, not falcosidekick's older format.")
        elif key == "port" and each.text.isdigit():
            self._draft.put("syslog_output.port", int(each.text))
        elif key == "minimumpriority":
            self._route(each, "syslog")

    def _kafka(self, each: ImportedSetting, key: str, _: str) -> None:
        if key == "hostport":
            servers = [text.strip() for text in each.text.split(",")]
            self._draft.put("kafka.bootstrap_servers", ",".join(s if ":" in s else f"{s}:9092" for s in servers))
            self._draft.turn_on("siem.falco")
        elif key in ("sasl", "tls"):
            mechanism = _MECHANISMS.get(self._text("kafka.sasl"))
            kinds = {(True, True): "sasl_ssl", (True, False): "sasl_plaintext", (False, True): "ssl"}
            kind = kinds.get((mechanism is not None, self._text("kafka.tls") == "true"))
            if kind:
                self._draft.put("kafka.security_protocol", kind)
            if mechanism:
                self._draft.put("kafka.sasl_mechanism", mechanism)
            elif key == "tls":
                self._draft.cover()
        elif key == "compression" and each.text.lower() in ("lz4", "zstd", "none"):
            self._draft.put("kafka.compression", each.text.lower())
        elif key == "minimumpriority":
            self._route(each, "siem.falco")

    def _apprise(self, each: ImportedSetting, section: str, key: str) -> None:
        if key == "minimumpriority":
            self._draft.note(each, "all services share one: set apprise_output.minimum_priority.")
            return
        if key not in SWITCH_NAMES or section in self._apprised:
            self._draft.note(each, "put it into the service's line in /etc/lanner/apprise-urls.")
            return
        self._apprised.add(section)
        self._draft.turn_on("apprise")
        self._draft.put("apprise_output.urls_file", "/etc/lanner/apprise-urls")
        self._draft.note(each, f"put a line into /etc/lanner/apprise-urls: {APPRISE[section]} (apprise_output).")

    def _http(self, each: ImportedSetting, key: str, target: str, section: str) -> None:
        """Convert a setting common to all outputs over HTTP, below `target`; section names files of secrets."""
        if key.startswith("customheaders."):
            name = key.removeprefix("customheaders.")
            if name == "authorization":
                self._draft.secret(each, f"{target}.token_file", f"{section}-token")
                self._draft.note(each, "the file holds only the token, without `Bearer`.")
                return
            file = f"/etc/lanner/{section}-header-{re.sub('[^a-z0-9-]', '-', name)}"
            headers = self._headers.setdefault(target, [])
            headers.append({"name": name, "value_file": file})
            self._draft.put(f"{target}.headers", headers)
            self._draft.note(each, f"may be a secret, not copied: write it to {file}.")
        elif key == "checkcert" and each.text.lower() == "false":
            self._draft.note(each, f"certificates are always verified: set {target}.ca_file to the CA.")
        elif key in ("checkcert", "mutualtls") and each.text.lower() in ("true", "false"):
            self._draft.cover()
            if (key, each.text.lower()) == ("mutualtls", "true"):
                folder = self._text("mutualtlsfilespath", lower=False) or "/etc/certs"
                for ours, theirs, file in (
                    ("certificate_file", "certfile", "client.crt"),
                    ("key_file", "keyfile", "client.key"),
                    ("ca_file", "cacertfile", "ca.crt"),
                ):
                    own = self._text(f"mutualtlsclient.{theirs}", lower=False)
                    self._draft.put(f"{target}.{ours}", own or f"{folder}/{file}")
        else:
            self._priority(each, key, target)

    def _priority(self, each: ImportedSetting, key: str, target: str) -> None:
        if key == "minimumpriority" and each.text.lower() in BY_NAME:
            self._draft.put(f"{target}.minimum_priority", each.text.lower())

    def _route(self, each: ImportedSetting, sink: str) -> None:
        """Store the minimum priority of a sink that has no setting for it."""
        if each.text.lower() in BY_NAME:
            self._least[sink] = each.text.lower()
            self._draft.cover()

    def _http_sink(self, section: str) -> str:
        """Return the section for an output over HTTP: the built-in webhook for the first, a named sink for others."""
        if section not in self._hooks:
            name = "hook" if section == "webhook" else section
            target = f"sinks.{name}" if self._hooks else "webhook_output"
            if self._hooks:
                self._draft.put(f"{target}.type", "webhook")
                self._draft.sinks.append(name)
            else:
                self._draft.turn_on("webhook")
            self._draft.put(f"{target}.format", FORMATS[section])
            self._hooks[section] = target
        return self._hooks[section]

    def _routes(self) -> None:
        """Convert minimum priorities to routes; each sink gets one, because sinks without a route receive nothing."""
        if self._least:
            routes = []
            for sink in self._draft.sinks:
                match = {"match": {"priority": self._least[sink]}} if sink in self._least else {}
                routes.append({**match, "sink": sink})
            self._draft.put("routes", routes)

    def _text(self, name: str, *, lower: bool = True) -> str:
        found = self._by_name.get(name)
        return "" if found is None else found.text.lower() if lower else found.text
