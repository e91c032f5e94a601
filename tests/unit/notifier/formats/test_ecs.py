import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from foundation.quantities import iso8601_zulu
from notifier.formats.ecs import DATA_STREAM, ECS_VERSION, FIELDS, MAX_TERM_BYTES, PAGES, document
from schemas.alert import Alert
from tests.unit.alerts import alert
from tests.unit.notifier.formats.corpus import CORPUS, LATER, LOADED

TEMPLATES = Path(__file__).parents[4] / "deploy" / "siem"
KNOWN = {row["field"]: row for row in csv.DictReader((Path(__file__).parent / f"ecs_{ECS_VERSION}.csv").open())}
"""Type, normalization and allowed values of the fields that we use, as ECS's release lists them in fields.csv."""
CONSOLE = "https://console.example/"
WHOLE = frozenset(
    {
        *("process.pid", "process.entity_id", "process.executable", "process.command_line", "process.parent.pid"),
        *("process.parent.entity_id", "process.parent.executable", "process.parent.command_line"),
        *("user.id", "host.id"),
    }
)
"""What every alert about a process contains, whatever its rule's output names."""


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the fields of a document by dotted names."""
    found: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found


def test_every_document_is_ecs() -> None:
    """Each field is one of ECS's, of its type, single or several as ECS defines it, with a value that it allows."""
    kinds = {"long": int, "boolean": bool}
    for each in (*CORPUS, LATER, LOADED):
        made = document(each, console=CONSOLE)
        json.dumps(made)
        made.pop("falco")
        for name, value in flat(made).items():
            spec = KNOWN[name]
            assert isinstance(value, list) == (spec["normalization"] == "array"), name
            for item in value if isinstance(value, list) else [value]:
                assert type(item) is kinds.get(spec["type"], str), name
                assert not spec["allowed"] or item in spec["allowed"].split(), (name, item)


def test_a_process_alert_states_who_did_it() -> None:
    """Process, parent, user, host, and the container where there is one."""
    for each in CORPUS:
        if "proc.pid" not in each.event or not each.host_id:
            continue
        made = flat(document(each))
        assert made.keys() >= WHOLE
        assert made["user.id"] == "0"
        assert made["host.id"] == "3d12"
        assert ("container.id" in made) == (each.event["container.id"] != "host")


def test_one_process_has_one_identity_as_child_and_as_parent() -> None:
    """So a SIEM can draw the tree."""
    child = CORPUS[0]
    event = {"proc.pid": child.event["proc.ppid"], "proc.pid.ts": child.event["proc.ppid.ts"]}
    parent = document(Alert("x", 1, "r", "Debug", "", {}, host_id="3d12", event=event))
    assert parent["process"]["entity_id"] == document(child)["process"]["parent"]["entity_id"]


def test_severity_and_attack_stand_where_elastic_looks() -> None:
    """47 is medium; a subtechnique brings its technique."""
    made = flat(document(CORPUS[0]))
    assert made["event.severity"] == 47
    assert made["threat.tactic.id"] == ["TA0006"]
    assert made["threat.technique.id"] == ["T1003", "T1059"]
    assert made["threat.technique.subtechnique.id"] == ["T1003.008"]
    assert made["threat.technique.name"] == ["OS Credential Dumping", "Command and Scripting Interpreter"]
    assert made["threat.technique.reference"][0] == "https://attack.mitre.org/techniques/T1003/"
    assert made["threat.technique.subtechnique.name"] == ["/etc/passwd and /etc/shadow"]


def test_a_document_explains_its_rule_and_can_be_found_by_what_is_in_it() -> None:
    """Searches for a user or an address don't need to know in which field it is."""
    made, connection = flat(document(CORPUS[0])), flat(document(CORPUS[2]))
    assert (made["rule.description"], made["falco.response"]) == ("Hashes are read.", "Look.")
    assert (made["related.user"], made["related.hosts"], made["host.os.type"]) == (["root"], ["web-3"], "linux")
    assert connection["related.ip"] == ["10.0.0.5", "192.0.2.7"]
    assert flat(document(CORPUS[1]))["related.hash"] == [f"sha256:{'1' * 64}", "5a" * 32]


def test_elastic_security_finds_an_alert_without_a_setting() -> None:
    """Its rule *External Alerts* reads documents of the kind alert in `logs-*`, whose data stream the fields repeat."""
    made = flat(document(CORPUS[0]))
    assert "-".join(made[f"data_stream.{part}"] for part in ("type", "dataset", "namespace")) == DATA_STREAM
    assert DATA_STREAM.startswith("logs-")
    assert (made["event.kind"], made["event.dataset"]) == ("alert", made["data_stream.dataset"])


def test_a_process_has_its_arguments_terminal_and_leaders() -> None:
    """Session View needs the entry leader; a process that leads itself has one identity in both places."""
    made = flat(document(CORPUS[0]))
    assert (made["process.args"], made["process.args_count"]) == (["cat", "/etc/shadow"], 2)
    assert (made["process.tty.char_device.major"], made["process.tty.char_device.minor"]) == (136, 1)
    assert made["process.session_leader.entity_id"] == made["process.entry_leader.entity_id"]
    assert made["process.session_leader.entity_id"] == made["process.parent.entity_id"]
    assert made["process.group_leader.entity_id"] == made["process.entity_id"]
    assert (made["process.group_leader.same_as_process"], made["process.entry_leader.same_as_process"]) == (True, False)
    assert made["falco.ancestors"] == [{"pid": 1, "name": "systemd"}]
    assert (made["event.action"], made["event.code"]) == ("openat", "openat")
    execed = flat(document(CORPUS[1]))
    assert (execed["event.action"], execed["event.code"]) == ("exec", "execve")


def test_a_file_is_named_also_by_a_call_that_does_not_open_it() -> None:
    """A removal, or the new name of a rename; a program that is run is no file."""
    assert document(CORPUS[4])["file"] == {"path": "/tmp/log", "name": "log", "directory": "/tmp"}
    renamed = document(alert(event={"evt.type": "rename", "fs.path.source": "/tmp/a", "fs.path.target": "/etc/b"}))
    assert renamed["file"]["path"] == "/etc/b"
    assert "file" not in document(alert(event={"evt.type": "execve", "fs.path.name": "/bin/ls"}))


@pytest.mark.parametrize(("result", "outcome"), [("ECONNREFUSED", "failure"), ("EINPROGRESS", "success")])
def test_a_connection_that_is_being_made_is_no_failure(result: str, outcome: str) -> None:
    """A program that doesn't wait for it gets an error number at once."""
    made = document(alert(event={"evt.type": "connect", "fd.type": "ipv4", "evt.failed": True, "evt.res": result}))
    assert made["event"]["outcome"] == outcome


def test_a_login_is_an_authentication_of_its_account() -> None:
    """From the address that sshd logged."""
    event = {"sshd.user": "eve", "sshd.address": "192.0.2.9", "sshd.port": 50022}
    made, other = (flat(document(alert(source="sshd", event=each))) for each in (event, {"sshd.message": "refused"}))
    assert made["event.category"] == other["event.category"] == ["authentication"]
    assert (made["event.type"], made["event.outcome"], other["event.type"]) == (["start"], "success", ["info"])
    assert "event.outcome" not in other
    assert (made["user.name"], made["source.ip"], made["source.port"]) == ("eve", "192.0.2.9", 50022)
    assert (made["related.user"], made["related.ip"]) == (["eve"], ["192.0.2.9"])


def test_a_leader_that_is_not_known_has_its_pid_alone() -> None:
    """Without its start there is no identity."""
    event = {name: value for name, value in CORPUS[0].event.items() if not name.startswith("process.session_leader.")}
    made = document(Alert("x", 1, "r", "Debug", "", {}, host_id="3d12", event=event))
    assert made["process"]["session_leader"] == {"pid": 4000, "same_as_process": False}


def test_a_document_links_to_the_console_if_it_has_an_address() -> None:
    """To the alert, and to the rule's page with what to do about it."""
    made, without = flat(document(CORPUS[0], console=CONSOLE)), flat(document(CORPUS[0]))
    assert made["event.url"] == f"{CONSOLE}alerts/{CORPUS[0].id}"
    assert made["rule.reference"] == f"{CONSOLE}rules/rule?name=A+rule"
    assert not without.keys() & {"event.url", "rule.reference"}


def test_an_alert_that_was_found_later_has_the_time_of_its_event() -> None:
    """And states when it was found."""
    made = flat(document(LATER))
    assert made["threat.enrichments.matched.occurred"] == "2026-12-01T10:00:00.000000000Z"
    assert made["@timestamp"] == iso8601_zulu(LATER.time)


def mapped(file: str) -> dict[str, str]:
    """Return the type of each field of an index template."""
    template, found = json.loads((TEMPLATES / file).read_text()), {}
    assert template["index_patterns"] == ["logs-lanner.alerts-*"]
    assert template["data_stream"] == {}

    def walk(properties: dict[str, Any], prefix: str) -> None:
        for name, spec in properties.items():
            if "properties" in spec:
                walk(spec["properties"], f"{prefix}{name}.")
            else:
                found[prefix + name] = spec["type"]

    walk(template["template"]["mappings"]["properties"], "")
    return found


def test_the_index_templates_have_ecs_types_for_every_field() -> None:
    """Else Elasticsearch guesses from the first document; OpenSearch has another name for one type."""
    found = mapped("ecs-index-template.json")
    assert found["falco.output_fields"] == "flattened"
    own = {name: kind for name, kind in found.items() if not name.startswith("falco.")}
    assert own == {name: KNOWN[name]["type"] for name, _ in (*FIELDS, *PAGES)}
    assert own.keys() == KNOWN.keys()
    same = {"flattened": "flat_object", "constant_keyword": "keyword"}
    assert mapped("opensearch-index-template.json") == {name: same.get(kind, kind) for name, kind in found.items()}


def test_no_value_that_a_host_chooses_keeps_its_alert_out_of_an_index() -> None:
    """An address that is none, and a text that is longer than a term may be, are left out of the index, not refused."""

    def keywords(properties: dict[str, Any]) -> Iterator[dict[str, Any]]:
        for spec in properties.values():
            yield from keywords(spec["properties"]) if "properties" in spec else [spec]

    for name in ("ecs-index-template.json", "opensearch-index-template.json"):
        template = json.loads((TEMPLATES / name).read_text())["template"]
        assert template["settings"]["index.mapping.ignore_malformed"] is True
        found = list(keywords(template["mappings"]["properties"]))
        assert all(each["ignore_above"] * 4 < 32766 for each in found if each["type"] in ("keyword", "flattened"))
    made = document(alert(output_fields={"proc.cmdline": "é" * 30_000}))
    assert len(made["falco"]["output_fields"]["proc.cmdline"].encode()) <= MAX_TERM_BYTES


def test_an_answer_of_a_name_server_has_the_fields_of_ecs() -> None:
    """Name, type and code; what was answered, and the addresses of it. A destination has its name."""
    made = flat(document(CORPUS[-2]))
    assert {name: value for name, value in made.items() if name.startswith(("dns", "destination"))} == {
        "destination.ip": "192.0.2.7",
        "destination.port": 53,
        "destination.domain": "ns.example.net",
        "dns.type": "answer",
        "dns.question.name": "www.example.org",
        "dns.question.registered_domain": "example.org",
        "dns.question.type": "AAAA",
        "dns.response_code": "NOERROR",
        "dns.answers.data": ["edge.example.net", "2001:db8::9"],
        "dns.resolved_ip": ["2001:db8::9"],
    }
    assert (made["network.protocol"], made["event.type"]) == ("dns", ["connection", "protocol"])
    assert made["related.hosts"] == ["web-3", "ns.example.net", "www.example.org"]
    assert made["related.ip"] == ["10.0.0.5", "192.0.2.7", "2001:db8::9"]


def test_a_hello_of_tls_has_the_name_of_its_server_and_the_program_its_writer() -> None:
    """ECS has no field for who wrote a program."""
    made = flat(document(CORPUS[-1]))
    assert (made["tls.client.server_name"], made["network.protocol"]) == ("c2.example", "tls")
    assert (made["source.domain"], made["related.hosts"]) == ("a.example", ["web-3", "a.example", "c2.example"])
    assert {name: value for name, value in made.items() if name.startswith("falco.program")} == {
        "falco.program.origin": "dropped",
        "falco.program.written_by": "curl",
        "falco.program.written_by_user": "ann",
        "falco.program.written_at": "2026-11-24T14:30:50.479846943Z",
    }
    assert (made["falco.script.path"], made["related.hash"]) == ("/tmp/x.sh", ["5a" * 32, "6b" * 32])


def test_a_file_of_code_has_its_digest_and_origin() -> None:
    """Beside those of the program that loads it."""
    made = flat(document(LOADED))
    assert (made["file.hash.sha256"], made["process.hash.sha256"]) == ("7c" * 32, "5a" * 32)
    assert (made["falco.file.origin"], made["falco.file.package"], made["package.name"]) == (
        *("modified", "libx"),
        "coreutils",
    )
    assert made["related.hash"] == ["5a" * 32, "7c" * 32]


def test_an_alert_names_the_indicator_that_its_rule_found() -> None:
    """By its type; a network, which ECS has no place for, is a name only."""
    made = [document(each)["threat"] for each in CORPUS[10:-2]]
    assert made[0]["feed"] == {"name": "servers"}
    assert made[0]["indicator"] == {
        "type": "ipv4-addr",
        "name": "192.0.2.7",
        "provider": "a feed",
        "description": "Emotet",
        "ip": "192.0.2.7",
    }
    assert made[1]["indicator"] == {"type": "ipv6-addr", "name": "2001:db8::/32", "provider": "a feed"}
    assert made[2]["indicator"]["url"] == {"domain": "bad.example"}
    assert made[3]["indicator"]["file"] == {"hash": {"sha256": "a" * 64}}
    assert made[4]["indicator"].keys() == {"name", "provider", "description"}


def test_an_alert_of_a_pod_says_where_it_runs() -> None:
    """Cluster, namespace, pod and the image's digest."""
    made = flat(document(CORPUS[1]))
    assert made["orchestrator.cluster.name"] == "eu-1"
    assert made["orchestrator.resource.name"] == "shop-7"
    assert made["container.image.hash.all"] == [f"sha256:{'1' * 64}"]
