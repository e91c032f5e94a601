import json
from pathlib import Path
from typing import Any

import pytest

from notifier.formats.ecs import FIELDS, document
from schemas.alert import Alert
from tests.reference import present, shared_dir
from tests.unit.notifier.formats.corpus import CORPUS

ROOT = Path(__file__).parents[4]
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


@pytest.fixture(scope="module")
def known() -> dict[str, Any]:
    """Read ECS's own list of fields."""
    path = present(shared_dir() / "siem" / "ecs_fields.json")
    fields = json.loads(path.read_text())["fields"]
    assert isinstance(fields, dict)
    return fields


def test_every_document_is_ecs(known: dict[str, Any]) -> None:
    """Each field is one of ECS's, of its type, single or several as ECS defines it, with a value that it allows."""
    kinds = {"long": int, "boolean": bool}
    for each in CORPUS:
        made = document(each)
        json.dumps(made)
        made.pop("falco")
        for name, value in flat(made).items():
            spec = known[name]
            assert isinstance(value, list) == spec["array"], name
            for item in value if isinstance(value, list) else [value]:
                assert isinstance(item, kinds.get(spec["type"], str)), name
                assert spec["allowed"] is None or item in spec["allowed"], (name, item)


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
    assert made["threat.technique.subtechnique.name"] == ["/etc/passwd and /etc/shadow"]


def test_a_document_explains_its_rule_and_can_be_found_by_what_is_in_it() -> None:
    """Searches for a user or an address don't need to know in which field it is."""
    made, connection = flat(document(CORPUS[0])), flat(document(CORPUS[2]))
    assert (made["rule.description"], made["falco.response"]) == ("Hashes are read.", "Look.")
    assert (made["related.user"], made["related.hosts"], made["host.os.type"]) == (["root"], ["web-3"], "linux")
    assert connection["related.ip"] == ["10.0.0.5", "192.0.2.7"]
    assert flat(document(CORPUS[1]))["related.hash"] == ["sha256:11"]


def test_the_index_template_has_ecs_types_for_every_field(known: dict[str, Any]) -> None:
    """Else Elasticsearch guesses from the first document."""
    template = json.loads((ROOT / "deploy" / "siem" / "ecs-index-template.json").read_text())
    mapped: dict[str, str] = {}

    def walk(properties: dict[str, Any], prefix: str) -> None:
        for name, spec in properties.items():
            if "properties" in spec:
                walk(spec["properties"], f"{prefix}{name}.")
            else:
                mapped[prefix + name] = spec["type"]

    walk(template["template"]["mappings"]["properties"], "")
    assert mapped["falco.output_fields"] == "flattened"
    own = {name: kind for name, kind in mapped.items() if not name.startswith("falco.")}
    assert own == {name: known[name]["type"] for name, _ in FIELDS}


def test_an_alert_of_a_pod_says_where_it_runs() -> None:
    """Cluster, namespace, pod and the image's digest."""
    made = flat(document(CORPUS[1]))
    assert made["orchestrator.cluster.name"] == "eu-1"
    assert made["orchestrator.resource.name"] == "shop-7"
    assert made["container.image.hash.all"] == ["sha256:11"]
