import json
from pathlib import Path

from notifier.outbox import Outbox
from tests.unit.alerts import alert
from tests.unit.lanner.program import lanner


def outbox_with_dead_letters(folder: Path, *ids: str) -> Outbox:
    """Create an outbox whose sink refused some alerts."""
    outbox = Outbox(folder / "slack.outbox.db", capacity=10)
    for each in ids:
        outbox.put(alert(id=each, rule=f"Rule {each}\x1b[2J"))
        outbox.dead_letter(outbox.fetch(1, 0)[0], "msg_too_long", 3)
    return outbox


def test_the_outboxes_of_this_host_are_looked_at_without_a_broker(tmp_path: Path) -> None:
    """List, show, replay and drop work while the delivering process takes what was retried."""
    outbox = outbox_with_dead_letters(tmp_path, "one", "two")
    local = ("--local", "-o", f"notifier.state_dir={tmp_path}")
    listed = lanner("dlq", "list", *local, "--format", "json").stdout.splitlines()
    assert [json.loads(line)["id"] for line in listed] == ["slack:1", "slack:2"]
    shown = lanner("dlq", "show", "slack:1", *local).stdout
    assert "msg_too_long" in shown
    assert "\x1b" not in shown
    assert lanner("dlq", "replay", "slack:1", *local).returncode == 0
    (queued,) = outbox.fetch(5, 0)
    outbox.acknowledge([queued])
    assert (queued.alert.id, outbox.backlog()) == ("one", 0)
    assert lanner("dlq", "drop", "--all", "--note", "old", *local).stdout == "slack:2\n"
    assert lanner("dlq", "list", *local).stderr == "no dead letters.\n"


def test_a_missing_outbox_is_reported(tmp_path: Path) -> None:
    """It reports that, and creates none."""
    reported = lanner("dlq", "list", "--local", "-o", f"notifier.state_dir={tmp_path}")
    assert reported.returncode == 1
    assert "no outbox found" in reported.stderr
    assert list(tmp_path.iterdir()) == []


def test_replay_and_drop_require_a_selection() -> None:
    """Naming nothing doesn't select everything."""
    for words in (("replay",), ("replay", "--all", "notifier:1"), ("drop", "--note", "x")):
        assert lanner("dlq", *words).returncode == 2


def test_an_error_is_reported_with_how_many_were_replayed_before(tmp_path: Path) -> None:
    """If there were none, with the error only."""
    outbox_with_dead_letters(tmp_path, "one")
    local = ("--local", "-o", f"notifier.state_dir={tmp_path}")
    none, some = lanner("dlq", "replay", "x", *local), lanner("dlq", "replay", "slack:1", "slack:7", *local)
    assert (none.returncode, some.returncode, some.stdout) == (1, 1, "slack:1\n")
    assert none.stderr.startswith("error: 'x' is not a valid dead-letter id")
    assert some.stderr.startswith("retried 1.\nerror: slack:7: no such dead letter")
