"""Conversion of Falco's settings; most names are the same by design.

Source: falco.yaml as shipped.
"""

from typing import Any

from foundation.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from lanner.importing.draft import Draft, ImportedSetting, found_in, reason_in
from lanner.settings.load import parse_yaml

REASONS = {
    "base_syscalls": "the rules determine which system calls are watched; collector.always_sent adds some.",
    "buffer_format_base64": "bytes that are not text are escaped in alerts.",
    "buffered_outputs": "output is never buffered.",
    "capture": "`lanner run` records the newest events anyway, of keep.size_mib; `lanner context` shows them.",
    "config_files": "Lanner reads one settings file: import these files as well, and merge the results.",
    "container_engines": "container runtimes are found without settings.",
    "engine.kind": "Lanner has one kind of collector: eBPF, for kernels with BTF.",
    "engine.kmod": "Lanner has no kernel module; collector.ring_mib is the size of its buffer.",
    "engine.modern_ebpf": "one ring serves all CPUs; collector.ring_mib is its size, and losses are reported.",
    "engine.replay": "`lanner replay` reads recordings of `lanner record`, not captures of Falco.",
    "falco_libs": "the table of processes has no size to set, and file contents are not read.",
    "file_output.keep_alive": "the file stays open; SIGUSR1 opens it again, after log rotation.",
    "grpc": "there is no gRPC: use a webhook, a file or Kafka.",
    "grpc_output": "there is no gRPC: use a webhook, a file or Kafka.",
    "http_output.ca_path": "set webhook_output.ca_file to one file of CAs.",
    "http_output.compress_uploads": "requests are not compressed.",
    "http_output.echo": "answers are not printed; a refused alert is reported, and stored for `lanner dlq`.",
    "http_output.keep_alive": "connections are always reused.",
    "http_output.max_consecutive_timeouts": "an alert waits on disk, and is sent again until it is accepted.",
    "json_include_message_property": "JSON has no `message`; `output` contains it.",
    "libs_logger": "log_level applies to all of Lanner.",
    "load_plugins": "Lanner has no plugins.",
    "log_stderr": "Lanner's own log always goes to standard error, and so to the journal.",
    "log_syslog": "Lanner's own log always goes to standard error, and so to the journal.",
    "metadata_download": "`lanner kubernetes` reads the API server: docs/kubernetes-metadata.md.",
    "metrics": "Prometheus reads metrics at the address in http.listen, at any interval: docs/operate.md.",
    "modern_bpf": "one ring serves all CPUs; collector.ring_mib is its size, and losses are reported.",
    "output_timeout": "a slow sink delays no other: alerts wait for it on disk.",
    "outputs": "repeated alerts are counted instead of sent: repeated_alerts.",
    "outputs_queue": "alerts wait on disk for each sink, at most notifier.outbox_alerts.",
    "plugins_hostinfo": "Lanner has no plugins.",
    "program_output": "no program is started for an alert: use a webhook, a file or Kafka.",
    "stdout_output.keep_alive": "standard output stays open.",
    "syscall_buf_size_preset": "one ring serves all CPUs; collector.ring_mib is its size, and losses are reported.",
    "syscall_drop_failed_exit": "rules see failed calls too; the kernel drops events that no rule can match.",
    "syscall_event_drops": "losses are always counted by reason, and reported as an alert with source `internal`.",
    "syscall_event_timeouts": "an idle host is normal; /healthz shows whether events are still read.",
    "webserver.k8s_healthz_endpoint": "the path is /healthz.",
    "webserver.prometheus_metrics_enabled": "the same address serves metrics, at /metrics.",
    "webserver.ssl_certificate": "the server speaks plain HTTP: bind it to an address that only a proxy can reach.",
    "webserver.ssl_enabled": "the server speaks plain HTTP: bind it to an address that only a proxy can reach.",
    "webserver.threadiness": "the server needs one thread.",
}
PLUGINS = {"k8smeta": "`lanner kubernetes` reads the API server once for a whole cluster: docs/kubernetes-metadata.md."}
NO_PLUGIN = "Lanner has no plugins; rules of their sources are skipped."
ENGINES = {
    "label_max_len": "labels of containers have a fixed limit.",
    "with_size": "the size of a container's root is not read.",
    "hooks": "containers are found when they are created.",
}
NO_ENGINE = "is not a container runtime that Lanner has settings for; containers of any runtime have at least their id."


SAME = (
    *("rules", "priority", "rule_matching", "append_output", "json_output", "log_level"),
    *("json_include_output_property", "json_include_output_fields_property", "json_include_tags_property"),
    *("time_format_iso_8601", "watch_config_files"),
    *("stdout_output.enabled", "file_output.enabled", "file_output.filename", "syslog_output.enabled"),
)
_RULES_FILES = ("rules_files", "rules_file", "rule_files")
_LEVELS = {"emergency": "error", "alert": "error", "critical": "error", "notice": "info"}
_SIGNS = frozenset({"rules_files", "rules_file", "engine", "http_output", "json_output", "syscall_event_drops"})
_USER_AGENT = "falcosecurity/falco"
"""Falco's defaults."""


def is_falco(tree: Node) -> bool:
    """Return whether settings are Falco's."""
    return isinstance(tree, MappingNode) and not _SIGNS.isdisjoint(key.value for key in tree.names())


def import_falco(tree: Node) -> Draft:
    """Convert Falco's settings; notes name the settings without an equivalent."""
    draft = Draft()
    found = list(found_in(tree))
    texts = {each.name: each.text for each in found}
    for each in found:
        with draft.accounting(each):
            _convert(draft, each, texts)
    return draft


def _convert(draft: Draft, each: ImportedSetting, texts: dict[str, str]) -> None:
    section, _, key = each.name.partition(".")
    switch = texts.get(f"{section}.enabled", "").lower()
    if each.name in _RULES_FILES:
        files = _plain(each.value)
        draft.put("rules_files", files if isinstance(files, list) else [files])
        draft.note(each, "replaces the built-in rules, as it does in Falco.")
    elif each.name in SAME:
        value = _plain(each.value)
        draft.put(each.name, _LEVELS.get(each.text, value) if each.name == "log_level" else value)
    elif key and switch == "false":
        draft.note(each, f"{section} is off, so its settings are left out.")
    elif section == "http_output":
        _http(draft, each, key, texts)
    elif section == "webserver":
        _webserver(draft, each, key, texts)
    elif section == "static_fields":
        _static_field(draft, each, key)
    elif section == "container_engines":
        _engine(draft, each, *key.partition(".")[::2])
    elif each.name == "plugins":
        _plugins(draft, each)
    if draft.is_open and (reason := reason_in(REASONS, each.name)):
        draft.note(each, reason)


def _http(draft: Draft, each: ImportedSetting, key: str, texts: dict[str, str]) -> None:
    names = {"ca_cert": "ca_file", "ca_bundle": "ca_file", "client_cert": "certificate_file", "client_key": "key_file"}
    has_certificate = texts.get("http_output.mtls", "").lower() == "true"
    if key == "url":
        draft.turn_on("webhook")
        login, at, rest = each.text.partition("://")[2].rpartition("@")
        draft.put("webhook_output.url", each.text.replace(f"{login}{at}{rest}", rest))
        if login:
            draft.secret(each, "webhook_output.token_file", "webhook-token")
            draft.note(each, "the file holds only the password of the URL; it is sent as a bearer token.")
        draft.note(each, "if that is falcosidekick, import its settings as well, and it is no longer needed.")
    elif key in names and (key.startswith("ca") or has_certificate):
        draft.put(f"webhook_output.{names[key]}", each.text)
    elif key in names:
        draft.note(each, "http_output.mtls is off, so it is left out.")
    elif key == "insecure" and each.text.lower() == "true":
        draft.note(each, "certificates are always verified: set webhook_output.ca_file to the CA.")
    elif key == "user_agent" and each.text == _USER_AGENT:
        draft.note(each, "requests name Lanner; webhook_output.headers may set another User-Agent.")
    elif key == "user_agent":
        draft.put("webhook_output.headers", [{"name": "User-Agent", "value": each.text}])
    elif key in ("enabled", "mtls", "insecure"):
        draft.cover()


def _webserver(draft: Draft, each: ImportedSetting, key: str, texts: dict[str, str]) -> None:
    if key in ("enabled", "listen_port", "listen_address"):
        address = texts.get("webserver.listen_address") or "0.0.0.0"  # noqa: S104  Falco's own default
        host = f"[{address}]" if ":" in address else address
        draft.put("http.listen", f"{host}:{texts.get('webserver.listen_port') or '8765'}")
    elif each.text.lower() == {"k8s_healthz_endpoint": "/healthz", "ssl_enabled": "false"}.get(key):
        draft.cover()


def _static_field(draft: Draft, each: ImportedSetting, key: str) -> None:
    if "%" in each.text or not key:
        draft.note(each, "a value with % is a format: write it into append_output yourself.")
    else:
        # `each.name` is in lower case, but the name of a field is not.
        draft.append("append_output", {"extra_fields": [{each.key: each.text}]})


def _plugins(draft: Draft, each: ImportedSetting) -> None:
    for item in each.value.items if isinstance(each.value, SequenceNode) else ():
        name = item.get("name") if isinstance(item, MappingNode) else None
        named = (name.text or "") if isinstance(name, ScalarNode) else ""
        if not isinstance(item, MappingNode) or named != "container":
            part = ImportedSetting(f"plugins.{named or '?'}", item.location, item)
            draft.note(part, PLUGINS.get(named, NO_PLUGIN))
            continue
        config = item.get("init_config")
        if isinstance(config, ScalarNode) and config.text:
            config = parse_yaml(config.text, f"{config.location}", has_lines=False)
        if isinstance(config, MappingNode):
            for setting in found_in(config, "plugins.container"):
                key = setting.name.removeprefix("plugins.container.")
                if key.startswith("engines."):
                    _engine(draft, setting, *key.removeprefix("engines.").partition(".")[::2])
                else:
                    draft.note(setting, ENGINES.get(key.partition(".")[0], NO_PLUGIN))
    draft.cover()


def _engine(draft: Draft, each: ImportedSetting, runtime: str, key: str) -> None:
    """Convert one setting of a container runtime; sockets are what Lanner has settings for."""
    value = _plain(each.value)
    sockets = [str(item) for item in value] if isinstance(value, list) else [str(value)]
    if key not in ("socket", "sockets"):
        draft.note(each, "container runtimes are found without being enabled.")
    elif runtime in ("docker", "podman"):
        draft.put(f"collector.{runtime}_socket", sockets[0])
        if len(sockets) > 1:
            draft.note(each, f"collector.{runtime}_socket is one socket: only the first was converted.")
    elif runtime in ("cri", "containerd"):
        for socket in sockets:
            draft.append("collector.cri_sockets", socket)
    else:
        draft.note(each, NO_ENGINE)


def _plain(tree: Node) -> Any:
    if isinstance(tree, MappingNode):
        return {key.value: _plain(below) for key, below in tree.entries()}
    if isinstance(tree, SequenceNode):
        return [_plain(item) for item in tree.items]
    words = {"true": True, "false": False}
    return words.get(tree.text or "", tree.text)
