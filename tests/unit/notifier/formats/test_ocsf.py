import json
from typing import Any

import jsonschema
import pytest
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

from notifier.formats.ocsf import OCSF_VERSION, document
from tests.unit.notifier.formats.corpus import CORPUS


@pytest.fixture(scope="module")
def validator() -> Any:
    """Return a validator for the JSON schema of the class."""
    schema = OcsfJsonSchemaEmbedded(get_ocsf_schema(OCSF_VERSION)).get_class_schema("detection_finding")
    return jsonschema.Draft202012Validator(schema)


def test_every_document_is_a_detection_finding(validator: Any) -> None:
    """Strictly: no key that the schema doesn't know."""
    for each in CORPUS:
        made = document(each)
        problems = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(made)]
        assert problems == []
        assert made["type_uid"] == 200400 + made["activity_id"]
        json.dumps(made)


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


def test_a_finding_has_the_rules_description_and_its_response_as_remediation() -> None:
    """A rule without a description is described by its output."""
    made, other = document(CORPUS[0]), document(CORPUS[2])
    assert (made["finding_info"]["desc"], made["remediation"]) == ("Hashes are read.", {"desc": "Look."})
    assert other["finding_info"]["desc"] == other["message"]
    assert "remediation" not in other
    assert made["finding_info"]["attacks"][1]["sub_technique"]["name"] == "/etc/passwd and /etc/shadow"
