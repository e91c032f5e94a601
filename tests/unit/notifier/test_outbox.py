import stat
import threading
from pathlib import Path

import pytest

from notifier import outbox as outbox_module
from notifier.outbox import Outbox, OutboxUnusable
from tests.unit.notifier.lines import numbered


def ids(box: Outbox) -> list[str]:
    """Give who waits, in order."""
    return [each.alert.id for each in box.waiting(100, 0)]


def test_what_waits_survives_the_process(tmp_path: Path) -> None:
    """And comes back whole and in order, into files that only the owner reads."""
    alerts = numbered(3)
    first = Outbox(tmp_path / "box" / "far.db", most=10)
    assert all(first.put(each) for each in alerts)
    for file in (tmp_path / "box").iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    second = Outbox(tmp_path / "box" / "far.db", most=10)
    assert [each.alert for each in second.waiting(10, 0)] == alerts
    assert second.backlog() == 3


def test_a_second_alert_of_one_id_is_dropped_even_after_a_restart(tmp_path: Path) -> None:
    """Whether the first still waits or was delivered."""
    one, two = numbered(2)
    box = Outbox(tmp_path / "far.db", most=10)
    assert (box.put(one), box.put(one), box.put(two)) == (True, False, True)
    box.done(box.waiting(1, 0))
    box.close()
    again = Outbox(tmp_path / "far.db", most=10)
    assert (again.put(one), again.put(two)) == (False, False)
    assert ids(again) == [two.id]


def test_ids_are_remembered_within_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Old ones go, or the file would grow for ever."""
    monkeypatch.setattr(outbox_module, "REMEMBERED", 5)
    monkeypatch.setattr(outbox_module, "_PRUNE_EVERY", 10)
    box = Outbox(tmp_path / "far.db", most=100)
    alerts = numbered(10)
    for each in alerts:
        box.put(each)
    box.done(box.waiting(10, 0))
    assert [box.put(each) for each in alerts] == [True] * 5 + [False] * 5


def test_a_full_outbox_lets_the_oldest_go_and_counts_them(tmp_path: Path) -> None:
    """What happened last matters most."""
    box = Outbox(tmp_path / "far.db", most=3)
    for each in numbered(5):
        box.put(each)
    assert ids(box) == ["id-0002", "id-0003", "id-0004"]
    assert (box.overflowed, box.backlog()) == (2, 3)


def test_an_alert_that_went_while_it_was_being_delivered_is_counted_once(tmp_path: Path) -> None:
    """The count of what waits stays true when the line drops what the worker holds."""
    box = Outbox(tmp_path / "far.db", most=2)
    first, second, third = numbered(3)
    box.put(first)
    held = box.waiting(1, 0)
    box.put(second)
    box.put(third)
    box.done(held)
    assert (ids(box), box.backlog()) == ([second.id, third.id], 2)


def test_dead_letters_are_kept_shown_replayed_and_dropped(tmp_path: Path) -> None:
    """With reason, attempts and the whole alert."""
    box = Outbox(tmp_path / "far.db", most=10, clock=lambda: 77.0)
    for each in numbered(2):
        box.put(each)
    for each in box.waiting(2, 0):
        box.bury(each, "too long", 3)
    assert ids(box) == []
    first, second = box.dead_letters()
    assert (first.alert_id, first.reason, first.attempts, first.at) == ("id-0000", "too long", 3, 77.0)
    assert box.replay(first.number)
    assert box.drop(second.number)
    assert not box.drop(second.number)
    assert (ids(box), box.dead_letters(), box.backlog()) == (["id-0000"], [], 1)


def test_waiting_wakes_up_as_soon_as_an_alert_is_put(tmp_path: Path) -> None:
    """The worker's thread sleeps on the line and not by the clock."""
    box = Outbox(tmp_path / "far.db", most=10)
    got: list[int] = []
    thread = threading.Thread(target=lambda: got.append(len(box.waiting(1, 30))))
    thread.start()
    box.put(numbered(1)[0])
    thread.join(5)
    assert got == [1]


def test_a_file_that_is_no_outbox_is_named(tmp_path: Path) -> None:
    """A sentence, no traceback."""
    path = tmp_path / "far.db"
    path.write_bytes(b"something else entirely" * 100)
    with pytest.raises(OutboxUnusable, match=r"far\.db: file is not a database"):
        Outbox(path, most=10)
    with pytest.raises(OutboxUnusable, match=r"below\.db: "):
        Outbox(path / "below.db", most=10)
