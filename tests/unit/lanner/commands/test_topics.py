import json
from pathlib import Path

import pytest

from bus.acls import PARTS
from tests.unit.lanner.program import lanner

SETTINGS = """
json_sources:
  - {source: github, topic: github-events}
  - {source: json, topic: shop.audit}
kubernetes_audit:
  topic: {name: insights, group: audit-readers}
"""


def _foreign(part: str, settings: str, folder: Path) -> list[tuple[str, str, str]]:
    """Return what a part would get on resources that are not Lanner's own: kind, name and operation."""
    file = folder / "lanner.yaml"
    file.write_text(settings)
    done = lanner("topics", "acls", "-c", file, "--for", part, "--dry-run", "-o", "json_output=true")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert len({tuple(each.items()) for each in rows}) == len(rows) >= len(PARTS[part])
    found = ((each["resource"], each["name"], each["operation"]) for each in rows)
    return [each for each in found if not each[1].startswith("lanner.")]


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ("processor", [("topic", "github-events", "read"), ("topic", "shop.audit", "read")]),
        (
            "dead-letters",
            [("topic", name, operation) for name in ("github-events", "shop.audit") for operation in ("read", "write")],
        ),
        ("kubernetes-audit", [("topic", "insights", "read"), ("group", "audit-readers", "read")]),
        ("console", []),
        ("collector", []),
    ],
)
def test_topics_that_the_settings_name_are_granted_to_who_uses_them(
    part: str, expected: list[tuple[str, str, str]], tmp_path: Path
) -> None:
    """Their names are complete: the prefix is not added."""
    assert _foreign(part, SETTINGS, tmp_path) == expected


def test_a_topic_of_another_broker_is_not_granted_here(tmp_path: Path) -> None:
    """An Event Hub has rights of its own."""
    settings = "kubernetes_audit: {topic: {name: insights, bootstrap_servers: 'hub.example.com:9093'}}"
    assert _foreign("kubernetes-audit", settings, tmp_path) == []


def test_commands_for_kafkas_own_tool_have_these_topics_too(tmp_path: Path) -> None:
    """One line for each resource."""
    file = tmp_path / "lanner.yaml"
    file.write_text(SETTINGS)
    done = lanner("topics", "acls", "-c", file, "--for", "dead-letters", "--kafka-acls")
    assert "--operation Read --operation Write --topic github-events\n" in done.stdout


def test_several_stages_get_the_rights_of_each_but_not_one_principal() -> None:
    """A command for all of them starts once; who names a principal names the stage."""
    both = ("topics", "acls", "--for", "collector", "--for", "reader")
    alone = [
        json.loads(lanner(*both[:2], "--for", part, "--dry-run", "--format", "json").stdout) for part in both[3::2]
    ]
    assert json.loads(lanner(*both, "--dry-run", "--format", "json").stdout) == [*alone[0], *alone[1]]
    refused = lanner(*both, "--principal", "User:eu", "--dry-run")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "--principal goes with one --for" in refused.stderr
