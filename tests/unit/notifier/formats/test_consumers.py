import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from bus.connection import DEFAULT_PREFIX
from bus.topics import ALL_TOPICS
from notifier.formats import cim, ecs, falco, ocsf
from tests.unit.notifier.formats.corpus import CONNECT, CORPUS, OPEN, POD, PROCESS
from tests.unit.notifier.formats.test_ecs import flat

FOLDER = Path(__file__).parents[4] / "deploy" / "siem"
CONSUMERS = sorted(path for path in FOLDER.glob("*.*") if not path.name.endswith("-index-template.json"))
ID = "event.id"
"""The alert's id in ECS: whoever writes to an index makes it the document's."""


def read(name: str) -> Any:
    """Read a consumer's settings."""
    text = (FOLDER / name).read_text()
    return json.loads(text) if name.endswith(".json") else yaml.safe_load(text)


@pytest.mark.parametrize("path", CONSUMERS, ids=lambda path: path.name)
def test_each_reads_topics_that_there_are(path: Path) -> None:
    """Under the default prefix; those that a notifier writes."""
    topics = set(re.findall(r"lanner\\*\.siem\\*\.\w+", path.read_text()))
    named = {topic.replace("\\", "") for topic in topics}
    assert named
    assert named <= {f"{DEFAULT_PREFIX}{topic}" for topic in ALL_TOPICS}


@pytest.mark.parametrize("path", CONSUMERS, ids=lambda path: path.name)
def test_each_writes_to_the_data_stream_that_documents_name(path: Path) -> None:
    """It must be one that Elastic Security reads; a data stream takes no other action than `create`."""
    if path.name == "elasticsearch-connect.json":
        config = read(path.name)["config"]
        parts = (config[key] for key in ("data.stream.type", "data.stream.dataset", "transforms.index.replacement"))
        assert "-".join(parts).lower() == ecs.DATA_STREAM
        return
    text = path.read_text()
    names = set(re.findall(r"\blogs-[^\"\s]+", text))
    assert names <= {ecs.DATA_STREAM}
    assert names or "splunk" in path.name
    assert path.name not in ("logstash.conf", "vector.yaml", "data-prepper.yaml") or re.search(
        r"action\W+create\b", text
    )


def test_each_takes_the_alerts_id_for_the_documents() -> None:
    """So that a second delivery overwrites the first: the field is in every document, and so is the key."""
    assert all(ID in flat(ecs.document(alert)) for alert in CORPUS)
    (beat,) = read("filebeat.yaml")["filebeat.inputs"]
    assert beat["parsers"][0]["ndjson"]["document_id"] == ID
    assert 'document_id => "%{[event][id]}"' in (FOLDER / "logstash.conf").read_text()
    (sink,) = read("data-prepper.yaml")["lanner-alerts"]["sink"]
    assert sink["opensearch"]["document_id"] == "${/event/id}"
    assert read("elasticsearch-connect.json")["config"]["key.ignore"] == "false"
    vector = read("vector.yaml")
    assert vector["sources"]["ecs"]["key_field"] == vector["sinks"]["elastic"]["id_key"]


@pytest.mark.parametrize("value", [10**30, -5, 2**62 + 5, 1.5, True, "x", [1], {"a": 1}, "\ud800"], ids=repr)
def test_an_alert_that_was_posted_becomes_a_document_whatever_its_fields_are(value: object) -> None:
    """One that raised would be in the way of those behind it."""
    names = {*PROCESS, *POD, *OPEN, *CONNECT, "evt.failed", "proc.tty"}
    posted = {"rule": "r", "time": "2026-01-01T00:00:00Z", "priority": "Error", "output": "o"}
    alert = falco.parse_falco(json.dumps({**posted, "output_fields": dict.fromkeys(names, value)}).encode())
    for form in (ecs, ocsf, cim):
        json.dumps(form.document(alert))


def test_vector_takes_away_only_what_it_added() -> None:
    """No field that it deletes, or leaves out for Splunk, is one of ours."""
    vector = read("vector.yaml")
    deleted = set(re.findall(r"del\(\.(\w+)\)", vector["transforms"]["ecs_alone"]["source"]))
    assert all(deleted.isdisjoint(ecs.document(alert)) for alert in CORPUS)
    left_out = set(vector["sinks"]["splunk"]["encoding"]["except_fields"])
    assert all(left_out.isdisjoint(cim.document(alert)) for alert in CORPUS)
    inputs = {name for part in ("transforms", "sinks") for each in vector[part].values() for name in each["inputs"]}
    assert inputs <= set(vector["sources"]) | set(vector["transforms"])


def test_logstash_takes_away_only_what_it_added() -> None:
    """`event.original` and `@version` are its own."""
    (removed,) = re.findall(r"remove_field => \[(.*?)\]\s*}", (FOLDER / "logstash.conf").read_text())
    names = {name.strip(' "[]').replace("][", ".") for name in removed.split(",")}
    assert names == {"@version", "event.original"}
    assert all(names.isdisjoint(flat(ecs.document(alert))) for alert in CORPUS)


def test_secrets_are_named_and_not_written() -> None:
    """Each tool has its own way to keep them out of the file."""
    for path in CONSUMERS:
        for secret in re.findall(r"(?:api_key|password|token)\"?\s*(?:=>|:)\s*\"?([^\"\n]+)", path.read_text()):
            assert secret.startswith("${") or secret == "change-me", (path.name, secret)
