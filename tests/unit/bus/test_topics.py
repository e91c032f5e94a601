import pytest

from bus.topics import DAY_MS, EVENTS, HOST_KEYS, HOST_PINS, HOSTS, HOUR_MS, TOPICS, TopicState, check_topics, plan


def states(partitions: int = 8, **changes: TopicState) -> dict[str, TopicState]:
    """Return the correct state of all topics, with some replaced."""
    made = {
        each.name: TopicState(
            each.name,
            each.partitions,
            3,
            each.config["cleanup.policy"],
            int(each.config["retention.ms"]) if "retention.ms" in each.config else None,
            each.config.get("message.timestamp.type", "CreateTime"),
        )
        for each in plan("lanner.", partitions, 3, DAY_MS)
    }
    return made | {f"lanner.{name.replace('_', '.')}": state for name, state in changes.items()}


def test_every_topic_is_planned_once() -> None:
    """Names have the prefix, and scaling topics have the configured number of partitions."""
    plans = plan("x.", 6, 3, 36 * HOUR_MS)
    assert len({each.name for each in plans}) == len(TOPICS)
    assert all(each.name.startswith("x.") for each in plans)
    by_name = {each.kind.name: each for each in plans}
    assert by_name["events"].partitions == by_name["correlate"].partitions == 6
    assert by_name["processor-correlation-changelog"].partitions == 6
    assert by_name["rules"].partitions == 1
    assert by_name["events"].config["retention.ms"] == str(36 * HOUR_MS)
    assert by_name["rules"].config["cleanup.policy"] == "compact"
    assert by_name["events"].config["min.insync.replicas"] == "2"


def test_topics_as_they_should_be_are_fine() -> None:
    """Correct topics have no problems."""
    assert check_topics("lanner.", states()) == []


@pytest.mark.parametrize(
    ("change", "text", "fatal"),
    [
        (
            {"correlate": TopicState("lanner.correlate", 4, 3, "delete", DAY_MS)},
            "topic lanner.correlate has 4 partitions and must have 8, as lanner.events has",
            True,
        ),
        (
            {"rules": TopicState("lanner.rules", 2, 3, "compact", None)},
            "topic lanner.rules has 2 partitions and must have 1",
            True,
        ),
        (
            {"events": TopicState("lanner.events", 8, 3, "compact", DAY_MS)},
            "topic lanner.events has cleanup.policy=compact and must have delete",
            True,
        ),
        (
            {"events": TopicState("lanner.events", 8, 3, "delete", HOUR_MS // 2)},
            "topic lanner.events retains messages for 30 min: events that wait longer for a processor are lost",
            False,
        ),
        (
            {"events": TopicState("lanner.events", 8, 1, "delete", DAY_MS)},
            "topic lanner.events has only one replica: if its broker fails, the messages are lost",
            False,
        ),
        ({"events": TopicState("lanner.events", 8, 1, "delete", DAY_MS, brokers=1)}, "", False),
        (
            {"events": TopicState("lanner.events", 8, 3, "delete", DAY_MS, "CreateTime")},
            (
                "topic lanner.events has message.timestamp.type=CreateTime and must have LogAppendTime; otherwise "
                "any host could set the time at which windows and repeats end (kafka-configs.sh --alter --topic "
                "lanner.events --add-config message.timestamp.type=LogAppendTime)"
            ),
            True,
        ),
        ({"alerts": TopicState("lanner.alerts", 3, 3, None, None)}, "", False),
    ],
)
def test_what_is_wrong_is_found(change: dict[str, TopicState], text: str, fatal: bool) -> None:
    """Settings that break processing are fatal, risky ones are not, and invisible ones are not checked."""
    found = check_topics("lanner.", states(**change))
    assert [(each.text, each.fatal) for each in found] == ([(text, fatal)] if text else [])


def test_a_missing_topic_is_fatal() -> None:
    """A missing topic is reported by its full name."""
    there = states()
    del there["lanner.alerts"]
    assert [each.text for each in check_topics("lanner.", there)] == ["topic lanner.alerts does not exist"]


def test_what_is_reported_about_keys_is_small() -> None:
    """Topics of host keys have a small limit, since commands decompress what collectors write."""
    sizes = {each.kind.name: int(each.config["max.message.bytes"]) for each in plan("p.", 4, 1, DAY_MS)}
    assert {sizes[name] for name in (HOSTS, HOST_PINS, HOST_KEYS)} == {64 << 10}
    assert sizes[EVENTS] == 4 << 20
