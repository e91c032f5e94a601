import yaml

from lanner.importing.falco import import_falco, is_falco
from lanner.settings.load import parse_yaml

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
    assert settings["http"] == {"listen": "0.0.0.0:8765"}
    assert {note.split(": ")[1] for note in draft.notes} == {
        *("rules_files", "engine.kind", "log_stderr", "http_output.url", "http_output.insecure"),
        *("file_output.keep_alive", "program_output.enabled, program_output.program", "grpc_output.enabled"),
    }


def test_a_wrong_item_of_a_list_takes_the_list_along_and_is_reported() -> None:
    """The printed file must load."""
    draft = import_falco(parse_yaml("rules_files: [a.yaml]\nrules: [{disabel: {rule: x}}]", "falco.yaml"))
    assert yaml.safe_load(draft.text()) == {"rules_files": ["a.yaml"]}
    assert any("disabel" in note for note in draft.notes)


def test_sockets_of_container_runtimes_are_carried() -> None:
    """From the container plugin of today and from the setting of former releases; other plugins have a line each."""
    engines = "engines: {docker: {enabled: true, sockets: [/a.sock]}, cri: {sockets: [/b.sock]}, lxc: {enabled: true}}"
    new = f"plugins: [{{name: container, init_config: {{{engines}}}}}, {{name: k8smeta}}, {{name: okta}}]"
    draft = import_falco(parse_yaml(f"rules_files: [a.yaml]\n{new}\n", "falco.yaml"))
    assert yaml.safe_load(draft.text())["collector"] == {"docker_socket": "/a.sock", "cri_sockets": ["/b.sock"]}
    assert {note.split(": ")[1] for note in draft.notes} == {
        *("rules_files", "plugins.k8smeta", "plugins.okta"),
        "plugins.container.engines.docker.enabled, plugins.container.engines.lxc.enabled",
    }
    old = "container_engines: {cri: {enabled: true, sockets: [/b.sock, /c.sock]}}"
    draft = import_falco(parse_yaml(f"rules_files: [a.yaml]\n{old}\n", "falco.yaml"))
    assert yaml.safe_load(draft.text())["collector"] == {"cri_sockets": ["/b.sock", "/c.sock"]}


def test_fields_that_are_always_added_become_appended_output() -> None:
    """Beside those that the settings append anyway; the case of names stays."""
    text = "rules_files: [a.yaml]\nappend_output: [{extra_output: x}]\nstatic_fields: {Team: blue, share: 5%}\n"
    draft = import_falco(parse_yaml(text, "falco.yaml"))
    assert yaml.safe_load(draft.text())["append_output"] == [
        {"extra_output": "x"},
        {"extra_fields": [{"Team": "blue"}]},
    ]
    assert any("static_fields.share" in note for note in draft.notes)


def test_the_name_of_the_client_is_carried_unless_it_is_falcos_own() -> None:
    """As a header of the webhook."""
    http = "http_output: {enabled: true, url: 'http://x/', user_agent: %s, compress_uploads: true}"
    draft = import_falco(parse_yaml(http % "ours/1", "falco.yaml"))
    assert yaml.safe_load(draft.text())["webhook_output"]["headers"] == [{"name": "User-Agent", "value": "ours/1"}]
    assert any("http_output.compress_uploads: requests are not compressed." in note for note in draft.notes)
    draft = import_falco(parse_yaml(http % "falcosecurity/falco", "falco.yaml"))
    assert "headers" not in yaml.safe_load(draft.text())["webhook_output"]


def test_a_password_in_a_url_is_not_copied() -> None:
    """Falco has no other way to send a token."""
    http = "http_output: {enabled: true, url: 'https://falco:SECRET@host:2801/'}"
    draft = import_falco(parse_yaml(http, "falco.yaml"))
    settings = yaml.safe_load(draft.text())["webhook_output"]
    assert settings == {"enabled": True, "url": "https://host:2801/", "token_file": "/etc/lanner/webhook-token"}
    assert "SECRET" not in "".join(draft.notes)
