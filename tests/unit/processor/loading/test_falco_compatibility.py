import json

import pytest

from processor.loading import RuleFile, load_rules
from processor.loading.falco_compatibility import OWN_FIELDS, falco_problems
from schemas.catalog.fields import FIELDS
from tests.reference import conformance_dir, present

TEXT = """
- macro: seldom
  condition: evt.type = open
  correlation: {type: event_count, group-by: [fd.name], timespan: 1m, condition: {gte: 3}}
- rule: A
  desc: d
  condition: seldom and (ancestor(proc.name = x) or fd.realpath = /etc/a) and not proc.cmdline contains "my.fd.realpath"
    and not proc.name = val(fd.sip.name)
  output: "%evt.io_uring seen %correlation.count times"
  priority: INFO
  suppress: {by: [fd.name], for: 1m}
  response: Look.
  exceptions:
    - name: e
      fields: [fd.realpath, fd.name]
      values: [[/etc/a, /etc/b]]
"""


def test_each_use_of_a_lanner_extension_is_located() -> None:
    """A file that loads without problems in Lanner would have another meaning in Falco."""
    files = [RuleFile("rules.yaml", TEXT.encode())]
    assert load_rules(files).ok
    found = falco_problems(files)

    lines = TEXT.split("\n")
    reported = [
        (each.item_name, each.message.rsplit(" ", 1)[-1], lines[each.line - 1][each.column - 1 :]) for each in found
    ]
    assert [(name, word) for name, word, _ in reported] == [
        ("seldom", "it"),
        ("A", "it"),
        ("A", "it"),
        ("A", "'fd.realpath'"),
        ("A", "'ancestor(...)'"),
        ("A", "'val(fd.sip.name)'"),
        ("A", "'evt.io_uring'"),
        ("A", "'correlation'"),
        ("A", "'fd.realpath'"),
    ]
    starts = (
        "correlation:",
        "suppress:",
        "response:",
        "fd.realpath",
        "ancestor(",
        "val(fd.sip.name)",
        "evt.io_uring",
        "%correlation",
        "fd.realpath, fd.name",
    )
    assert all(text.startswith(start) for (*_, text), start in zip(reported, starts, strict=True))
    assert load_rules(files).with_problems(found).ok is False


@pytest.mark.parametrize("text", [b"- rule: [", b"7", b"- 7", b"\xff\xfe", b"- rule: {}"])
def test_what_is_no_rule_file_is_left_to_the_loader(text: bytes) -> None:
    """Loading reports it; the compatibility check does not raise."""
    assert falco_problems([RuleFile("rules.yaml", text)]) == ()


def test_the_fields_that_falco_lacks_are_these() -> None:
    """They are compared with Falco's own table; those of its plugins are separate."""
    table = present(conformance_dir().parent / "fields.json")
    theirs = {each["name"] for each in json.loads(table.read_text())["fields"]}
    plugin = ("container.", "k8s.", "proc.is_container_", "ka.", "json.", "jevt.")
    plugin += ("github.", "ct.", "s3.", "ec2.", "ecr.", "iam.", "okta.")
    ours = tuple(name for name in OWN_FIELDS if not name.startswith(plugin))
    assert tuple(sorted(name for name in FIELDS if name not in theirs and not name.startswith(plugin))) == ours
