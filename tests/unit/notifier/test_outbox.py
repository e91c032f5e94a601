import os
import sqlite3
import stat
import threading
import time
from pathlib import Path

import pytest

from foundation.sqlite import DatabaseUnusable
from notifier import outbox as outbox_module
from notifier.outbox import Outbox
from schemas.alert import encode_alert
from tests.unit.alerts import alert
from tests.unit.notifier.scripted import numbered


def ids(box: Outbox) -> list[str]:
    """Return the ids of waiting alerts, in order."""
    return [each.alert.id for each in box.fetch(100, 0)]


def test_what_waits_survives_the_process(tmp_path: Path) -> None:
    """And comes back whole and in order, into files that only the owner reads."""
    alerts = numbered(3)
    first = Outbox(tmp_path / "box" / "far.db", capacity=10)
    assert [first.put(each) for each in alerts] == ["stored"] * 3
    for file in (tmp_path / "box").iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    second = Outbox(tmp_path / "box" / "far.db", capacity=10)
    assert [each.alert for each in second.fetch(10, 0)] == alerts
    assert second.backlog() == 3


def test_a_second_alert_of_one_id_is_dropped_even_after_a_restart(tmp_path: Path) -> None:
    """Whether the first still waits or was delivered."""
    one, two = numbered(2)
    box = Outbox(tmp_path / "far.db", capacity=10)
    assert (box.put(one), box.put(one), box.put(two)) == ("stored", "repeat", "stored")
    box.acknowledge(box.fetch(1, 0))
    box.close()
    reopened = Outbox(tmp_path / "far.db", capacity=10)
    assert (reopened.put(one), reopened.put(two)) == ("repeat", "repeat")
    assert ids(reopened) == [two.id]


def test_ids_are_remembered_within_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Old ones are dropped, or the file would grow without bound."""
    monkeypatch.setattr(outbox_module, "REMEMBERED", 5)
    monkeypatch.setattr(outbox_module, "_PRUNE_EVERY", 10)
    box = Outbox(tmp_path / "far.db", capacity=100)
    alerts = numbered(10)
    for each in alerts:
        box.put(each)
    box.acknowledge(box.fetch(10, 0))
    assert [box.put(each) for each in alerts] == ["stored"] * 5 + ["repeat"] * 5


def test_a_full_outbox_keeps_what_happened_first_and_counts_the_rest(tmp_path: Path) -> None:
    """The newest alerts of one rule are dropped: what is retained shows how it began."""
    box = Outbox(tmp_path / "far.db", capacity=3)
    assert [box.put(each) for each in numbered(5)] == ["stored"] * 3 + ["full"] * 2
    assert ids(box) == ["id-0000", "id-0001", "id-0002"]
    assert (box.overflowed, box.backlog()) == (2, 3)


def test_noise_pushes_no_other_rules_alert_out(tmp_path: Path) -> None:
    """Before the alert that counts, behind it, or both; over a restart as well: the rule with the most gives way."""

    def noise(count: int, at: int) -> None:
        for number in range(at, at + count):
            box.put(alert(id=f"noise-{number}", rule="Noise", priority="Critical"))

    box = Outbox(tmp_path / "far.db", capacity=10)
    noise(20, 0)
    assert box.put(alert(id="first", rule="Rare", priority="Notice")) == "stored"
    noise(20, 20)
    box.close()
    box = Outbox(tmp_path / "far.db", capacity=10)
    noise(20, 40)
    assert box.put(alert(id="second", rule="Another", priority="Debug")) == "stored"
    noise(20, 60)
    assert ids(box) == [*(f"noise-{number}" for number in range(8)), "first", "second"]
    assert (box.backlog(), box.overflowed) == (10, 41)


def test_a_more_severe_rule_may_have_more_waiting(tmp_path: Path) -> None:
    """Where two rules fill the line, the one of lower priority gives way first."""
    box = Outbox(tmp_path / "far.db", capacity=9)
    for number in range(100):
        box.put(alert(id=f"debug-{number}", rule="Low", priority="Debug"))
        box.put(alert(id=f"alert-{number}", rule="High", priority="Alert"))
    kinds = [each.partition("-")[0] for each in ids(box)]
    assert len(kinds) == 9
    assert 1 <= kinds.count("debug") <= 2


def test_an_outbox_of_an_older_release_goes_on(tmp_path: Path) -> None:
    """What waits in it is delivered, and gives way to what is graver."""
    base = sqlite3.connect(tmp_path / "far.db")
    base.execute(
        "CREATE TABLE waiting (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE, taken REAL, alert BLOB)"
    )
    for each in numbered(3):
        base.execute("INSERT INTO waiting (id, taken, alert) VALUES (?, 1.0, ?)", (each.id, encode_alert(each)))
    base.commit()
    base.close()
    box = Outbox(tmp_path / "far.db", capacity=3)
    assert box.put(alert(id="new", rule="Rare")) == "stored"
    assert ids(box) == ["id-0000", "id-0001", "new"]


def test_an_alert_that_went_while_it_was_being_delivered_is_counted_once(tmp_path: Path) -> None:
    """The count of what waits stays true when the line drops what the worker holds."""
    box = Outbox(tmp_path / "far.db", capacity=2)
    first, second = numbered(2)
    box.put(first)
    box.put(second)
    held = box.fetch(2, 0)
    third = alert(id="third", rule="Rare")
    box.put(third)
    box.acknowledge(held)
    assert (ids(box), box.backlog()) == ([third.id], 1)


def test_what_was_put_is_brought_to_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a second, by another thread, and at the end: a power cut takes no more than that second."""
    synced: list[str] = []
    whole = os.fsync

    def fsync(file: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{file}").readlink()))
        whole(file)

    monkeypatch.setattr(os, "fsync", fsync)
    box = Outbox(tmp_path / "far.db", capacity=2)
    box.put(numbered(1)[0])
    log = str(tmp_path / "far.db-wal")
    until = time.monotonic() + 10
    while log not in synced and time.monotonic() < until:
        time.sleep(0.05)
    assert log in synced
    synced.clear()
    box.put(numbered(2)[1])
    box.close()
    assert log in synced


def test_dead_letters_are_retained_shown_replayed_and_dropped(tmp_path: Path) -> None:
    """With reason, attempts and the whole alert."""
    box = Outbox(tmp_path / "far.db", capacity=10, clock=lambda: 77.0)
    for each in numbered(2):
        box.put(each)
    for each in box.fetch(2, 0):
        box.dead_letter(each, "too long", 3)
    assert ids(box) == []
    first, second = box.dead_letters()
    assert (first.alert_id, first.reason, first.attempts, first.at) == ("id-0000", "too long", 3, 77.0)
    assert box.replay(first.number)
    assert box.drop(second.number)
    assert not box.drop(second.number)
    assert (ids(box), box.dead_letters(), box.backlog()) == (["id-0000"], [], 1)


def test_waiting_wakes_up_as_soon_as_an_alert_is_put(tmp_path: Path) -> None:
    """The worker's thread sleeps on the line and not by the clock."""
    box = Outbox(tmp_path / "far.db", capacity=10)
    got: list[int] = []
    thread = threading.Thread(target=lambda: got.append(len(box.fetch(1, 30))))
    thread.start()
    box.put(numbered(1)[0])
    thread.join(5)
    assert got == [1]


def test_a_file_that_is_no_outbox_is_named(tmp_path: Path) -> None:
    """A sentence, no traceback."""
    path = tmp_path / "far.db"
    path.write_bytes(b"something else entirely" * 100)
    with pytest.raises(DatabaseUnusable, match=r"far\.db: file is not a database"):
        Outbox(path, capacity=10)
    with pytest.raises(DatabaseUnusable, match=r"below\.db: "):
        Outbox(path / "below.db", capacity=10)
