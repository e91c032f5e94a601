"""Conversion of Falco's settings; most names are the same by design.

Source: falco.yaml as shipped.
"""

from typing import Any

from lanner.importing.draft import Draft, ImportedSetting, found_in
from schemas.yaml.nodes import MappingNode, Node, SequenceNode

SAME = (
    *("rules_files", "rules", "priority", "rule_matching", "append_output", "json_output", "log_level"),
    *("json_include_output_property", "json_include_output_fields_property", "json_include_tags_property"),
    *("time_format_iso_8601", "watch_config_files"),
    *("stdout_output.enabled", "file_output.enabled", "file_output.filename", "syslog_output.enabled"),
)
_LEVELS = {"emergency": "error", "alert": "error", "critical": "error", "notice": "info"}
_WITHOUT_MEANING = frozenset(
    {
        *("engine", "plugins", "load_plugins", "plugins_hostinfo", "syscall_event_drops", "syscall_event_timeouts"),
        *("outputs_queue", "output_timeout", "buffered_outputs", "base_syscalls", "falco_libs", "config_files"),
        *("buffer_format_base64", "log_stderr", "log_syslog", "libs_logger", "webserver", "metrics", "grpc"),
    }
)
"""Settings of Falco's own engine."""
_SIGNS = frozenset({"rules_files", "rules_file", "engine", "http_output", "json_output", "syscall_event_drops"})


def is_falco(tree: Node) -> bool:
    """Return whether settings are Falco's."""
    return isinstance(tree, MappingNode) and not _SIGNS.isdisjoint(key.value for key in tree.names())


def import_falco(tree: Node) -> Draft:
    """Convert Falco's settings; notes name the settings without an equivalent."""
    draft = Draft()
    found = list(found_in(tree))
    texts = {each.name: each.text.lower() for each in found}
    for each in found:
        section = each.name.partition(".")[0]
        if each.name in SAME:
            value = _plain(each.value)
            draft.put(each.name, _LEVELS.get(each.text, value) if each.name == "log_level" else value)
            if each.name == "rules_files":
                draft.note(each, "replaces the built-in rules, as it does in Falco.")
        elif section == "http_output":
            _http(draft, each, texts)
        elif section in ("program_output", "grpc_output"):
            if texts.get(f"{section}.enabled") == "true":
                draft.note(each, "Lanner has no such output: use a webhook, a file or Kafka.")
        elif section in _WITHOUT_MEANING:
            if each.name == section or each.name.endswith((".enabled", ".kind")):
                draft.note(each, "configures Falco's engine; `lanner config default` shows Lanner's settings.")
        elif not (section.endswith("_output") and texts.get(f"{section}.enabled") != "true"):
            draft.note(each, "has no equivalent.")
    return draft


def _http(draft: Draft, each: ImportedSetting, texts: dict[str, str]) -> None:
    if texts.get("http_output.enabled") != "true":
        return
    key = each.name.partition(".")[2]
    names = {"ca_cert": "ca_file", "ca_bundle": "ca_file", "client_cert": "certificate_file", "client_key": "key_file"}
    if key == "url":
        draft.turn_on("webhook")
        draft.put("webhook_output.url", each.text)
        draft.note(each, "if that is falcosidekick, import its settings as well, and it is no longer needed.")
    elif key in names:
        if key.startswith("ca") or texts.get("http_output.mtls") == "true":
            draft.put(f"webhook_output.{names[key]}", each.text)
    elif key == "insecure" and each.text.lower() == "true":
        draft.note(each, "certificates are always verified: set webhook_output.ca_file to the CA.")


def _plain(tree: Node) -> Any:
    if isinstance(tree, MappingNode):
        return {key.value: _plain(below) for key, below in tree.entries()}
    if isinstance(tree, SequenceNode):
        return [_plain(item) for item in tree.items]
    words = {"true": True, "false": False}
    return words.get(tree.text or "", tree.text)
