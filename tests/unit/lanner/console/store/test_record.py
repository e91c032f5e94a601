import pytest

from lanner.console.store.record import (
    MAX_TEXT,
    group_key,
    host_class,
    normalized,
    packed,
    record_of,
    shared_text,
    unpacked,
)
from tests.unit.alerts import alert
from tests.unit.lanner.console.alerts import found


@pytest.mark.parametrize(
    ("text", "group"),
    [
        ("file=/etc/shadow pid=4711", "file=/etc/shadow pid=*"),
        ("id=01a20e63-3df8-8a19-82ef-5e8e855bbfb0", "id=*"),
        ("connection 10.0.0.1:4444->10.0.0.2:22", "connection *.*.*.*:*->*.*.*.*:*"),
        ("container_id=3f2a9c1b77de", "container_id=*"),
        ("file=/tmp/x8f2kq91/run", "file=/tmp/*/run"),
        ("pod=shop-7d9f8b6c5-x2x4k", "pod=shop-*-*"),
        ("command=sha256sum file", "command=sha*sum file"),
        ("nothing to replace", "nothing to replace"),
    ],
)
def test_texts_that_differ_in_numbers_and_identifiers_are_one_group(text: str, group: str) -> None:
    """Names and paths that people choose stay."""
    assert normalized(text) == group


@pytest.mark.parametrize("length", [MAX_TEXT, 10_000])
def test_long_texts_that_differ_at_their_ends_are_two_groups(length: int) -> None:
    """A long argument in front of it hides nothing in a row that is muted."""
    first, second = (normalized(f"command={'x' * length} file={name}") for name in ("/tmp/decoy", "/etc/shadow"))
    assert first != second
    assert len(first) <= MAX_TEXT
    assert normalized(f"{'x ' * MAX_TEXT} pid=17") == normalized(f"{'x ' * MAX_TEXT} pid=18")


@pytest.mark.parametrize(
    ("first", "second", "shared"),
    [
        ("cat opened /etc/shadow", "cat opened /etc/shadow", "cat opened /etc/shadow"),
        ("cat (root) ran x", "head (bob) ran x", "… ran x"),
        ("a opened /etc/cron.d/x now", "a opened /etc/cron.d/y now", "a opened /etc/cron.d/… now"),
        ("a opened /etc/cron.d/… now", "a opened /etc/cron.d/z now", "a opened /etc/cron.d/… now"),
        ("a opened /etc/…", "a opened /var/x", "a opened /…"),
        ("ran curl -s x", "ran curl x", "ran curl … x"),
        ("one", "two words", "…"),
    ],
)
def test_texts_share_words_and_folders(first: str, second: str, shared: str) -> None:
    """The same text again changes nothing."""
    assert shared_text(first, second) == shared
    assert shared_text(shared, second) == shared_text(shared, first) == shared


def test_hosts_of_one_kind_are_one_workload_and_containers_go_by_their_image() -> None:
    """The tag of the image and the number of the host don't matter."""
    assert record_of(found(1, hostname="web-12.prod")).workload == "web-*.prod"
    event = {
        "container.id": "3f2a9c1b77de",
        "container.image.repository": "docker.io/nginx",
        "container.image.tag": "1",
    }
    assert record_of(found(1, event=event)).workload == "docker.io/nginx"
    assert record_of(found(1, event={"container.id": "host"})).workload == "web-*"
    assert host_class("") == "unknown host"


def test_a_packed_alert_is_complete_again() -> None:
    """The texts of the rule are stored with the group."""
    original = alert(description="What", response="Look", event={"proc.pid": 3, "proc.args": ("a", "b")})
    assert unpacked(packed(original), "What", "Look") == original
    assert len(packed(original)) < 300


def test_a_key_is_the_same_for_every_console() -> None:
    """It depends on the group alone, so that marks fit."""
    assert group_key("r", "w", "t") == group_key("r", "w", "t") != group_key("r", "wt", "")
