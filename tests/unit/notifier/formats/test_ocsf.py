import json
from typing import Any

import jsonschema
import pytest
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

from notifier.formats import ecs
from notifier.formats.ocsf import OCSF_VERSION, document
from schemas.action import ACTION_TAKEN
from tests.unit.alerts import TIME, alert
from tests.unit.notifier.formats.corpus import CORPUS, LATER, LOADED


@pytest.fixture(scope="module")
def validators() -> dict[bool, Any]:
    """Return validators for the JSON schema of the class, without and with the profile of indicators."""
    schemas = OcsfJsonSchemaEmbedded(get_ocsf_schema(OCSF_VERSION))
    profiles: dict[bool, list[str]] = {False: [], True: ["host", "container", "osint"]}
    return {
        has: jsonschema.Draft202012Validator(schemas.get_class_schema("detection_finding", profiles=each))
        for has, each in profiles.items()
    }


def test_every_document_is_a_detection_finding(validators: dict[bool, Any]) -> None:
    """Strictly: no key that the schema doesn't know."""
    for each in (*CORPUS, LOADED):
        made = document(each)
        validator = validators["osint" in made["metadata"]["profiles"]]
        problems = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(made)]
        assert problems == []
        assert made["type_uid"] == 200400 + made["activity_id"]
        json.dumps(made)


@pytest.mark.parametrize(
    ("type_", "outcome", "activity", "status"),
    [
        ("kill", "done", "Evict", "Success"),
        ("freeze", "ended", "Restore", "Success"),
        ("isolate", "refused", "Isolate", "Failure"),
        ("collect", "gone", "Detect", "Does Not Exist"),
        ("later", "failed", "Other", "Error"),
    ],
)
def test_an_action_is_a_remediation(type_: str, outcome: str, activity: str, status: str) -> None:
    """By the schema of its class, with the id of the alert that it is about; ECS has action and outcome."""
    fields = {"action.id": "i", "action.type": type_, "action.outcome": outcome, "action.alert": "a", "action.by": None}
    made = document(found := alert(rule=ACTION_TAKEN, source="internal", output_fields=fields))
    schema = OcsfJsonSchemaEmbedded(get_ocsf_schema(OCSF_VERSION)).get_class_schema(
        "remediation_activity", profiles=["host"]
    )
    assert [error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(made)] == []
    assert (made["activity_name"], made["status"], made["metadata"]["correlation_uid"]) == (activity, status, "a")
    event = ecs.document(found)["event"]
    assert event["action"] == type_
    assert event["outcome"] == {"Failure": "failure", "Error": "failure", "Success": "success"}.get(status, "unknown")


def test_a_finding_that_was_made_later_has_the_time_of_its_event() -> None:
    """It was created when a search of stored events made it."""
    made = document(LATER)
    assert made["time"] == made["finding_info"]["first_seen_time"] == LATER.time // 1_000_000
    assert made["finding_info"]["created_time"] == 1_796_119_200_000
    assert "indicator.found_later" not in made.get("unmapped", {})


def test_an_indicator_is_open_source_intelligence() -> None:
    """Its type and value, list, provider and description, and nothing of it is unmapped."""
    made = document(CORPUS[10])
    (found,) = made["osint"]
    assert found == {
        "type_id": 1,
        "type": "IP Address",
        "value": "192.0.2.7",
        "name": "servers",
        "vendor_name": "a feed",
        "desc": "Emotet",
    }
    assert made["unmapped"] == {"proc.exe.origin": "package"}
    assert [document(each)["osint"][0]["type"] for each in CORPUS[11:-2]] == ["IP Address", "Domain", "Hash", "Other"]


def test_an_answer_of_a_name_server_is_a_query() -> None:
    """Its name and type, and the name of the other end; the name in the output isn't repeated."""
    made = document(CORPUS[-2])
    (evidence,) = made["evidences"]
    assert evidence["query"] == {"hostname": "www.example.org", "type": "AAAA"}
    answers = [{"rdata": "edge.example.net"}, {"rdata": "2001:db8::9"}]
    assert evidence["data"] == {"rcode": "NOERROR", "answers": answers}
    assert evidence["dst_endpoint"] == {"hostname": "ns.example.net", "ip": "192.0.2.7", "port": 53}
    assert "dns.question.name" not in made["unmapped"]
    seen = [each["value"] for each in made["observables"] if each["type"] == "Hostname"]
    assert seen == ["web-3", "ns.example.net", "www.example.org"]


def test_a_hello_of_tls_names_its_server_and_the_program_its_digest_package_and_writer() -> None:
    """Where the program comes from, for which the schema has no place, is beside them."""
    made, packaged = document(CORPUS[-1]), document(CORPUS[0])
    (evidence,) = made["evidences"]
    assert evidence["tls"] == {"version": "Unknown", "sni": "c2.example"}
    assert evidence["process"]["file"] == {
        "type_id": 1,
        "path": "/usr/bin/cat",
        "name": "cat",
        "hashes": [{"algorithm_id": 3, "algorithm": "SHA-256", "value": "5a" * 32}],
        "modifier": {"name": "ann"},
        "modified_time": (TIME - 40 * 10**9) // 10**6,
    }
    assert made["unmapped"] == {
        "proc.exe.origin": "dropped",
        "proc.exe.written_by": "curl",
        "proc.script.path": "/tmp/x.sh",
        "proc.script.sha256": "6b" * 32,
    }
    assert packaged["evidences"][0]["process"]["file"]["product"] == {"name": "coreutils", "version": "9.1-1"}
    assert {
        "name": "evidences[].process.file.hashes[].value",
        "type_id": 8,
        "type": "Hash",
        "value": "5a" * 32,
    } in made["observables"]


def test_a_file_of_code_has_its_digest_package_and_writer() -> None:
    """Where it comes from is beside them."""
    made = document(LOADED)
    assert made["evidences"][0]["file"] == {
        "type_id": 1,
        "path": "/tmp/x.so",
        "name": "x.so",
        "hashes": [{"algorithm_id": 3, "algorithm": "SHA-256", "value": "7c" * 32}],
        "product": {"name": "libx", "version": "1"},
        "modifier": {"name": "ann"},
        "modified_time": (TIME - 10**9) // 10**6,
    }
    assert made["unmapped"] == {"proc.exe.origin": "package", "fd.file.origin": "modified", "fd.file.written_by": "dd"}


def test_a_summary_updates_the_finding_that_it_sums_up() -> None:
    """Activity 2, the first alert's uid, the count."""
    first, summary = document(CORPUS[0]), document(CORPUS[6])
    assert (first["activity_id"], summary["activity_id"]) == (1, 2)
    assert summary["finding_info"]["uid"] == first["finding_info"]["uid"]
    assert summary["metadata"]["uid"] != first["metadata"]["uid"]
    assert summary["count"] == 412


def test_evidence_names_process_user_file_and_container() -> None:
    """What an analyst asks first."""
    (evidence,) = document(CORPUS[0])["evidences"]
    assert evidence["process"]["cmd_line"] == "cat /etc/shadow"
    assert evidence["process"]["parent_process"]["name"] == "bash"
    assert evidence["process"]["user"] == {"uid": "0", "name": "root"}
    assert evidence["file"] == {"type_id": 1, "path": "/etc/shadow", "name": "shadow"}
    assert document(CORPUS[1])["evidences"][0]["container"]["image"]["tag"] == "1.2"


def test_observables_name_what_is_there() -> None:
    """Each path leads to its value; file, container and command are among them."""
    seen = set()
    for each in CORPUS:
        made = document(each)
        for observable in made.get("observables", []):
            found: Any = made
            for part in observable["name"].split("."):
                found = found[part.removesuffix("[]")]
                found = found[0] if part.endswith("[]") else found
            assert str(found) == observable["value"]
            seen.add(observable["name"].rpartition("[].")[2])
    assert seen >= {"process.user.name", "process.cmd_line", "file.path", "container.uid", "dst_endpoint.ip"}


def test_a_finding_states_its_device_and_its_profiles() -> None:
    """A host that Lanner watches is a server with Linux; what is mapped isn't repeated."""
    made, pod, internal = document(CORPUS[0], console="https://c.example/"), document(CORPUS[1]), document(CORPUS[7])
    assert made["device"]["type_id"] == 1
    assert (made["device"]["ip"], made["device"]["hw_info"]) == ("10.0.0.5", {"cpu_architecture": "x86_64"})
    assert made["device"]["os"] == {
        "name": "Debian GNU/Linux 12 (bookworm)",
        "type_id": 200,
        "type": "Linux",
        "kernel_release": "6.1.0-18-amd64",
    }
    assert (made["metadata"]["profiles"], pod["metadata"]["profiles"]) == (["host"], ["host", "container"])
    assert pod["evidences"][0]["container"]["hash"]["value"] == "1" * 64
    assert pod["evidences"][0]["process"]["file"]["hashes"][0]["value"] == "5a" * 32
    assert made["evidences"][0]["process"]["ancestry"] == [{"pid": 1, "name": "systemd"}]
    assert made["finding_info"]["src_url"] == f"https://c.example/alerts/{CORPUS[0].id}"
    assert (internal["device"]["type_id"], internal["unmapped"]) == (0, {"ring": 7})
    assert "unmapped" not in document(
        alert(event={"proc.name": "cat"}, output_fields={"proc.name": "cat", "evt.hostname": "web-3"})
    )
    assert made["unmapped"] == {"proc.exe.origin": "package"}
    summary = alert(event={"proc.name": "cat"}, output_fields={"proc.name": ("cat", "less"), "evt.type": "open"})
    assert document(summary)["unmapped"] == {"proc.name": ["cat", "less"], "evt.type": "open"}


def test_a_finding_has_the_rules_description_and_its_response_as_remediation() -> None:
    """A rule without a description is described by its output."""
    made, other = document(CORPUS[0]), document(CORPUS[2])
    assert (made["finding_info"]["desc"], made["remediation"]) == ("Hashes are read.", {"desc": "Look."})
    assert other["finding_info"]["desc"] == other["message"]
    assert "remediation" not in other
    assert made["finding_info"]["attacks"][1]["sub_technique"]["name"] == "/etc/passwd and /etc/shadow"
