import configparser
import csv
import json
from collections import defaultdict
from pathlib import Path

import pytest

from notifier.formats import cim, falco
from schemas.alert import Alert
from tests.unit.alerts import alert
from tests.unit.notifier.formats.corpus import CORPUS, LOADED, OPEN, PROCESS

FOLDER = Path(__file__).parents[4] / "deploy" / "siem" / "splunk"
KNOWN: dict[str, dict[str, dict[str, str]]] = defaultdict(dict)
"""By dataset and field: whether it is required, and its allowed values, as pytest-splunk-addon 7.0.2 lists them."""
for _row in csv.DictReader((Path(__file__).parent / "cim_7.0.2.csv").open()):
    KNOWN[_row["dataset"]][_row["field"]] = _row
LOGIN = alert(
    source="sshd",
    event={"sshd.user": "eve", "sshd.address": "192.0.2.9", "sshd.method": "publickey", "sshd.program": "sshd-session"},
)
UNKNOWN = {"file_size", "reply_code_id", "response_time", "transaction_id"}
"""Required, and nothing that Lanner knows; the ids of codes don't have that of success."""
BESIDE = {"dest_name"}
"""No fields of the models, but named there: what `dest` may be taken from."""


@pytest.mark.parametrize("each", [*CORPUS, LOADED, LOGIN], ids=lambda each: each.event.get("evt.type", each.source))
def test_every_field_is_one_of_splunks(each: Alert) -> None:
    """Each belongs to Alerts, its dataset or Processes, with a value that this allows; Falco's keys stay."""
    made, plain = cim.document(each), falco.document(each)
    json.dumps(made)
    dataset = made.pop("dataset", "Alerts")
    assert {name: made[name] for name in plain} == plain
    for name in made.keys() - plain.keys() - BESIDE:
        specs = [KNOWN[part][name] for part in (dataset, "Alerts", "Processes") if name in KNOWN[part]]
        assert specs, name
        assert not specs[0]["values"] or made[name] in specs[0]["values"].split("|"), name
    required = {
        name for part in {"Alerts", dataset} for name, spec in KNOWN[part].items() if spec["kind"] == "required"
    }
    whole = ("proc.pid" in each.event and dataset in ("Processes", "Filesystem", "All_Traffic", "DNS")) or each is LOGIN
    assert not whole or required - UNKNOWN <= made.keys()


def test_an_alert_of_each_kind_is_in_its_dataset() -> None:
    """Programs that start, files, connections and logins; what is none of them is an alert alone."""
    found = [cim.document(each).get("dataset") for each in (*CORPUS[:6], CORPUS[7], LOGIN)]
    assert found == ["Filesystem", "Processes", "All_Traffic", "Filesystem", "Filesystem", None, None, "Authentication"]


def test_fields_say_what_splunk_means_by_them() -> None:
    """The process by its command line, the program's name and path, and one identity with its parent's children."""
    made = cim.document(CORPUS[0])
    assert (made["process"], made["process_exec"], made["process_id"]) == ("cat /etc/shadow", "cat", 4242)
    assert (made["parent_process"], made["parent_process_path"]) == ("bash", "/usr/bin/bash")
    assert (made["dest"], made["user"], made["signature"], made["severity"]) == ("web-3", "root", "A rule", "medium")
    assert (made["action"], made["file_path"], made["file_name"]) == ("read", "/etc/shadow", "shadow")
    traffic = cim.document(CORPUS[2])
    assert (traffic["src"], traffic["dest"], traffic["dest_port"], traffic["dvc"]) == (
        "10.0.0.5",
        "192.0.2.7",
        4444,
        "web-3",
    )
    assert (made["process_hash"], cim.document(CORPUS[-1])["dest_name"]) == ("5a" * 32, "c2.example")
    answer = cim.document(CORPUS[-2])
    assert (answer["query"], answer["record_type"], answer["reply_code"]) == ("www.example.org", "AAAA", "No Error")
    assert (answer["answer"], answer["answer_count"]) == (["edge.example.net", "2001:db8::9"], 2)
    assert cim.document(LOADED)["file_hash"] == "7c" * 32
    login = cim.document(LOGIN)
    assert (login["user"], login["src"], login["action"]) == ("eve", "192.0.2.9", "success")


def test_a_change_of_a_mode_is_one_of_permissions_and_a_long_command_is_cut() -> None:
    """What output_fields has is whole."""
    changed = cim.document(alert(event=PROCESS | OPEN | {"evt.type": "fchmodat", "proc.cmdline": "x" * 20_000}))
    assert changed["action"] == "acl_modified"
    assert len(changed["process"]) <= cim.MAX_FIELD_BYTES


def test_splunk_gives_each_dataset_the_tags_of_its_model() -> None:
    """The add-on's event types are by the field `dataset`."""
    types, tags = configparser.ConfigParser(), configparser.ConfigParser()
    types.read_string((FOLDER / "eventtypes.conf").read_text())
    tags.read_string((FOLDER / "tags.conf").read_text())
    given = {
        types[name]["search"].partition('dataset="')[2].rstrip('"'): set(tags[f"eventtype={name}"])
        for name in types.sections()
    }
    assert given == {
        "": {"alert"},
        "Processes": {"process", "report"},
        "Filesystem": {"endpoint", "filesystem"},
        "All_Traffic": {"network", "communicate"},
        "DNS": {"network", "resolution", "dns"},
        "Authentication": {"authentication"},
    }
