import pytest

from bus.acls import PARTS, Grant, commands
from bus.topics import ALL_TOPICS


@pytest.mark.parametrize(
    ("topic", "writers"),
    [
        ("events", {"collector", "dead-letters"}),
        ("correlate", {"processor", "dead-letters", "state"}),
        ("processor-correlation-changelog", {"processor"}),
        ("alerts", {"processor", "intake", "indicator-search", "dead-letters"}),
        ("interest", {"processor"}),
        ("schemas", {"processor", "intake"}),
        ("processors", {"processor"}),
        ("rules", {"publisher"}),
        ("hosts", {"collector"}),
        ("host-pins", {"processor", "enroller"}),
        ("host-keys", {"enroller"}),
        ("quiet-hosts", {"processor"}),
        ("pods", {"kubernetes"}),
        ("kubernetes-audit", {"kubernetes-audit", "dead-letters"}),
        ("siem.ecs", {"notifier"}),
        ("sessions", {"processor"}),
        ("console-marks", {"console"}),
        ("console-audit", {"console"}),
        ("dlq.processor", {"processor", "kubernetes-audit", "dead-letters"}),
        ("dlq.notifier", {"notifier", "dead-letters"}),
    ],
)
def test_each_topic_has_its_writers(topic: str, writers: set[str]) -> None:
    """Each topic has one writing part, except where alerts come in or dead letters are replayed."""
    grant = Grant("TOPIC", topic, "WRITE")
    assert {part for part, grants in PARTS.items() if grant in grants} == writers


def test_rights_name_topics_that_exist() -> None:
    """Grants name only existing topics."""
    for part, grants in PARTS.items():
        for grant in grants:
            if grant.resource == "TOPIC" and not grant.is_prefix:
                assert grant.name in ALL_TOPICS, f"{part}: {grant.name}"
            assert not (grant.is_prefix and grant.operation == "WRITE"), part


def test_commands_for_kafkas_own_tool_are_quoted() -> None:
    """There is one command per resource, and it is safe for a shell."""
    grants = (Grant("TOPIC", "events", "WRITE"), Grant("GROUP", "notifier.", "READ", is_prefix=True))
    first, second = commands(grants, "$(x).", "User:a b", "kafka-1:9093")
    assert first == (
        "kafka-acls.sh --bootstrap-server kafka-1:9093 --command-config admin.properties --add "
        "--allow-principal 'User:a b' --operation Write --topic '$(x).events'"
    )
    assert second.endswith("--operation Read --group '$(x).notifier.' --resource-pattern-type prefixed")


SIGNED = {"action-intents", "action-decisions"}
"""They count only with a signature."""


def test_the_console_can_take_messages_from_nobody() -> None:
    """It sees how far groups are behind, but can't join one or write what they read."""
    groups = {grant.operation for grant in PARTS["console"] if grant.resource == "GROUP"}
    written = {grant.name for grant in PARTS["console"] if grant.operation == "WRITE"}
    assert (groups, written) == ({"DESCRIBE"}, {"console-marks", "console-audit", *SIGNED})
