import yaml

from lanner.importing.falco import import_falco, is_falco
from lanner.settings.tree import parse_yaml

FALCO = """\
rules_files: [/etc/falco/falco_rules.yaml, /etc/falco/rules.d]
rules: [{disable: {rule: '*'}}, {enable: {tag: container}}]
engine: {kind: modern_ebpf}
json_output: true
priority: debug
log_level: notice
log_stderr: true
rule_matching: first
append_output: [{match: {source: syscall}, extra_output: on %evt.hostname, extra_fields: [evt.hostname, {a: '%b'}]}]
stdout_output: {enabled: true}
file_output: {enabled: true, keep_alive: false, filename: /var/log/falco.json}
http_output: {enabled: true, url: "http://side:2801/", mtls: true, client_cert: /c.crt, client_key: /c.key,
  insecure: true}
program_output: {enabled: false, program: mail}
grpc_output: {enabled: false}
webserver: {enabled: true, listen_port: 8765}
"""


def test_names_that_mean_the_same_are_taken_over() -> None:
    """Everything else gets a note."""
    tree = parse_yaml(FALCO, "falco.yaml")
    assert is_falco(tree)
    draft = import_falco(tree)
    settings = yaml.safe_load(draft.text())
    assert settings["rules_files"] == ["/etc/falco/falco_rules.yaml", "/etc/falco/rules.d"]
    assert settings["rules"] == [{"disable": {"rule": "*"}}, {"enable": {"tag": "container"}}]
    assert settings["append_output"][0]["extra_fields"] == ["evt.hostname", {"a": "%b"}]
    assert (settings["json_output"], settings["log_level"], settings["priority"]) == (True, "info", "debug")
    assert settings["file_output"] == {"enabled": True, "filename": "/var/log/falco.json"}
    assert settings["webhook_output"] == {
        "enabled": True,
        "url": "http://side:2801/",
        "certificate_file": "/c.crt",
        "key_file": "/c.key",
    }
    assert {note.split(": ")[1] for note in draft.notes} == {
        *("rules_files", "engine.kind", "log_stderr", "http_output.url", "http_output.insecure", "webserver.enabled"),
        "file_output.keep_alive",
    }


def test_a_wrong_item_of_a_list_takes_the_list_along_and_is_reported() -> None:
    """The printed file must load."""
    draft = import_falco(parse_yaml("rules_files: [a.yaml]\nrules: [{disabel: {rule: x}}]", "falco.yaml"))
    assert yaml.safe_load(draft.text()) == {"rules_files": ["a.yaml"]}
    assert any("disabel" in note for note in draft.notes)
