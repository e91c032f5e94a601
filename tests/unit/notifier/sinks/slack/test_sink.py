from pathlib import Path

import pytest

from notifier.sink import RoutedAlert
from notifier.sinks.slack.blocks import message
from notifier.sinks.slack.client import MessageRef
from notifier.sinks.slack.sink import PostedMessages, kind
from tests.unit.alerts import TIME, alert


def test_only_the_newest_are_remembered(tmp_path: Path) -> None:
    """The file is bounded, and read again by the next process."""
    stored = PostedMessages(tmp_path / "posted.db", remembered=3)
    for number in range(5):
        stored.add(RoutedAlert(alert(id=f"id-{number}")), MessageRef("C1", f"{number}"), 100.0)
    stored.close()
    reopened = PostedMessages(tmp_path / "posted.db", remembered=3)
    assert [reopened.of(f"id-{number}", None) is not None for number in range(5)] == [False, False, True, True, True]


def test_an_edited_message_shows_what_the_posted_one_did() -> None:
    """The fields of the event that messages show are stored."""
    event = {
        "evt.type": "connect",
        "proc.name": "bash",
        "proc.pname": "sshd",
        "proc.cmdline": "bash -i",
        "proc.pid": 7,
        "user.name": "root",
        "fd.type": "ipv4",
        "fd.name": "a->b",
        "fd.sip": "192.0.2.7",
        "fd.sport": 22,
        "container.id": "0123456789ab",
        "container.image.repository": "shop",
        "thread.tid": 8,
    }
    routed = RoutedAlert(alert(event=event, description="d", response="r"))
    stored = PostedMessages(None)
    stored.add(routed, MessageRef("C1", "1"), 100.0)
    found = stored.of(routed.alert.id, None)

    assert found is not None
    assert "thread.tid" not in found.routed.alert.event
    assert message(found.routed) == message(routed)


def test_counts_wait_to_be_shown_the_oldest_first() -> None:
    """What was counted while an edit was under way is shown by the next."""
    stored = PostedMessages(None)
    for number in range(2):
        stored.add(RoutedAlert(alert(id=f"id-{number}")), MessageRef("C1", f"{number}"), 100.0)
    first, second = stored.of("id-0", None), stored.of("id-1", None)
    assert first is not None
    assert second is not None
    stored.count(second, 1, TIME)
    stored.count(first, 412, TIME + 5)
    due = stored.outdated()
    assert due is not None
    assert (due.ref.time, due.repeats.count, due.repeats.last) == ("0", 412, TIME + 5)
    stored.count(first, 1, TIME)
    stored.shown(due)
    due = stored.outdated()
    assert due is not None
    assert (due.count, due.last) == (413, TIME + 5)
    stored.shown(due)
    stored.forget(second)
    assert stored.outdated() is None


def test_only_numbers_may_differ_between_what_counts_as_the_same() -> None:
    """Nobody hides another file, host, container or channel in a thread."""
    made = alert(output="cat (4711) read /etc/shadow")
    assert kind(RoutedAlert(made)) == kind(RoutedAlert(alert(id="2", output="cat (12) read /etc/shadow")))
    others = [
        RoutedAlert(alert(output="cat (12) read /etc/sudoers")),
        RoutedAlert(alert(output=made.output, hostname="web-4")),
        RoutedAlert(alert(output=made.output, priority="Error")),
        RoutedAlert(alert(output=made.output, event={"container.id": "0123456789ab"})),
        RoutedAlert(made, channel="#other"),
        RoutedAlert(made, text="in other words"),
    ]
    assert len({kind(each) for each in [RoutedAlert(made), *others]}) == 7


def test_a_folder_that_can_not_be_is_reported(tmp_path: Path) -> None:
    """As an error of the operating system, whatever the library's is."""
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        PostedMessages(tmp_path / "file" / "posted.db")
    (tmp_path / "posted.db").write_text("no database" * 100)
    with pytest.raises(OSError, match="not a database"):
        PostedMessages(tmp_path / "posted.db")
