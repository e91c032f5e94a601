"""Rules over what an archive and a recording have: two hosts for three days."""

import json
import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from lanner.cli.app import lanner_command
from lanner.commands.rules.backtest import DemandedBacktest, check_backtest, demanded_backtest
from lanner.errors import BadInput
from lanner.recorder.store import StoredBatch
from lanner.ruleset.compile import CompiledDetection
from lanner.settings import Settings
from lanner.settings.sections.fleet import BacktestLimit, BacktestSettings
from lanner.tuning.backtest import BacktestRange, BacktestVersion
from lanner.wiring.rules import load_detection
from schemas.batch import Container, EventBatch, Process
from schemas.catalog.priorities import PriorityName
from schemas.encoding.batch import encode_batch
from tests.unit.lanner.archive.test_intake import Received, intake
from tests.unit.lanner.commands.rules.test_tune import tune
from tests.unit.processor.batches import INIT, batch_of
from tests.unit.processor.batches import TIME as EVENT_TIME
from tests.unit.recordings import write_recording

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
START = 1_795_478_400_000
"""2026-11-24 00:00:00 in UTC, ms."""
RULES = """
- macro: many_reads
  condition: evt.type = openat and fd.name startswith /etc/
  correlation: {type: event_count, group-by: [evt.hostname], timespan: 2d, condition: {gte: 4}}
- macro: new_program
  condition: evt.type = execve
  correlation: {type: first_seen, group-by: [evt.hostname], field: proc.exepath, lookback: 30d, learning: 1h}
- {rule: Many, desc: d, condition: many_reads, output: many (%fd.name), priority: ERROR}
- {rule: New, desc: d, condition: new_program, output: new (%proc.exepath), priority: WARNING}
- {rule: Read, desc: d, condition: evt.type = openat and proc.name = cat, output: read by %proc.name, priority: NOTICE}
- {rule: Other, desc: d, condition: evt.type = openat and proc.name = never, output: o, priority: NOTICE}
"""


def fleet() -> list[tuple[int, EventBatch]]:
    """Return batches with the times at which they arrived: a read in the morning of each day, on both hosts."""
    found = []
    facts = {"image": "nginx:1.27", "image_repository": "nginx", "image_tag": "1.27", "name": "web"}
    nginx = Container(id="3f2504e04f89", full_id="3f2504e04f89" * 5, type="docker", **facts)
    for day in range(3):
        for number, host in enumerate(("web-3", "db-1")):
            arrived = START + day * DAY_MS + 10 * HOUR_MS + number * 1000
            program = Process(pid=70 + day, name="cat", exe="cat", exepath=f"/usr/bin/cat{day}", args=(), parent=0,
                              container=0 if number else -1)  # fmt: skip
            read = {"type": "openat", "fd_name": "/etc/hosts", "fd_type": "file", "res": 3, "process": 1}
            batch = batch_of(
                *({**each, "time": arrived * 1_000_000 - 5_000 + at} for at, each in enumerate([
                    read, {"type": "execve", "res": 0, "process": 1}, {**read, "fd_name": "/etc/passwd"},
                ])),
                processes=[INIT, program], containers=[nginx], host_id=host, hostname=host, sequence=day + 1,
            )  # fmt: skip
            found.append((arrived, replace(batch, created=arrived * 1_000_000, watched=["openat"], narrowed=[])))
    return found


@pytest.fixture(params=["archive", "recording"])
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return where they are stored."""
    batches = fleet()
    if request.param == "recording":
        return write_recording(tmp_path / "stored.avro", *(batch for _, batch in batches))
    return archived(tmp_path / "archive", batches)


def archived(folder: Path, batches: Sequence[tuple[int, EventBatch]]) -> Path:
    """Store batches as `lanner archive` does."""
    taking = intake(folder)
    for number, (arrived, batch) in enumerate(batches):
        taking.take("events", Received(encode_batch(batch), arrived, number), 0.0)
    list(taking.store_all())
    return folder


def backtest(folder: Path, stored: Path, *words: str, since: str = "2026-11-25T00:00:00+00:00") -> Result:
    """Run the command with the rules above as the only ones."""
    rules = folder / "rules.yaml"
    rules.write_text(RULES)
    common = ["rules", "backtest", "-r", str(rules), "--file", str(stored), "--since", since]
    until = ["--until", "2026-11-27T00:00:00+00:00"]
    return CliRunner().invoke(lanner_command, [*common, *until, *words], catch_exceptions=False)


def found(result: Result) -> dict[str, dict[str, Any]]:
    """Return what JSON states of each rule."""
    return {each["rule"]: each for each in json.loads(result.stdout)["found"]}


def test_alerts_are_counted_by_day_host_and_image_with_examples(tmp_path: Path, stored: Path) -> None:
    """Only within the time range, whose end is a day after the last event."""
    rules = found(backtest(tmp_path, stored, "--format", "json", "-q"))

    read = rules["Read"]
    assert (read["alerts"], read["priority"]) == (8, "Notice")
    assert read["by_day"] == {"2026-11-25": 4, "2026-11-26": 4}
    assert read["by_host"] == {"web-3": 4, "db-1": 4}
    assert read["by_image"] == {"host": 4, "nginx:1.27": 4}
    assert {(each["program"], each["host"]) for each in read["examples"]} == {
        (f"/usr/bin/cat{day}", host) for day in (1, 2) for host in ("web-3", "db-1")
    }
    assert read["examples"][0]["output"].startswith("read by cat")


def test_the_state_of_rules_begins_before_the_time_range(tmp_path: Path, stored: Path) -> None:
    """The reads of the day before count, and its program is known."""
    result = backtest(tmp_path, stored, "--format", "json", "-q")
    rules, stated = found(result), json.loads(result.stdout)["state_complete_from"]

    assert rules["Many"]["by_host"] == {"web-3": 1, "db-1": 1}
    assert rules["Many"]["by_day"] == {"2026-11-25": 2}
    assert {each["program"] for each in rules["New"]["examples"]} == {"/usr/bin/cat1", "/usr/bin/cat2"}
    # The events begin at 10:00 of the first day; repeats are counted as long as windows are.
    assert stated["Many"].startswith("2026-11-28T10:00:00")
    assert stated["New"].startswith("2026-12-24T10:01:00")


def test_the_text_states_what_is_missing(tmp_path: Path, stored: Path) -> None:
    """Events that were not collected, state that isn't complete, and events that begin later."""
    text = backtest(tmp_path, stored, "-q", since="2026-11-01").stdout

    assert "Read  Notice    12      3     4           2      2       2026-11-24 09:59:59  2026-11-26 10:00:00" in text
    assert "  by day    2026-11-24: 4, 2026-11-25: 4, 2026-11-26: 4" in text
    assert "  by image  host 6, nginx:1.27 6" in text
    assert "  2026-11-24 09:59:59  web-3  read by cat" in text
    assert "Its state is complete from 2026-12-24 10:01:00: before" in text
    assert "of 4 rules in 18 events of 2 hosts, 2026-11-01" in text
    assert "That of 2 stateful rules is complete from 2026-11-28 10:00:00 to 2026-12-24 10:01:00 on, since the" in text
    assert " begins at 2026-11-24 10:00:00" in text or "the events begin at 2026-11-24 10:00:00\n" in text
    assert "not collected, because no rule at that time needed it: execve (db-1, web-3)" in text


def test_a_draft_counts_its_own_rules_and_those_that_it_changes(tmp_path: Path) -> None:
    """A list or macro that it redefines changes a rule of another file; unchanged rules aren't counted."""
    stored = archived(tmp_path / "archive", fleet())
    draft = tmp_path / "draft.yaml"
    draft.write_text(
        "- macro: many_reads\n  condition: evt.type = openat and fd.name startswith /etc/\n"
        "  correlation: {type: event_count, group-by: [evt.hostname], timespan: 1h, condition: {gte: 2}}\n"
        "- {rule: Passwd, desc: d, condition: evt.type = openat and fd.name = /etc/passwd, output: o, "
        "priority: ERROR}\n"
    )
    rules = found(backtest(tmp_path, stored, str(draft), "--format", "json", "-q", "-o", "rule_matching=all"))

    assert rules.keys() == {"Many", "Passwd"}
    assert rules["Passwd"]["by_day"] == rules["Many"]["by_day"] == {"2026-11-25": 2, "2026-11-26": 2}


def test_rules_and_hosts_are_selected_by_patterns(tmp_path: Path) -> None:
    """A name that no rule has is an error, and so is a range without time."""
    stored = archived(tmp_path / "archive", fleet())
    rules = found(backtest(tmp_path, stored, "--rule", "Re*", "--host", "db-*", "--format", "json", "-q"))

    assert rules.keys() == {"Read"}
    assert rules["Read"]["by_host"] == {"db-1": 4}
    with pytest.raises(BadInput, match="Reads: no such rule"):
        backtest(tmp_path, stored, "--rule", "Reads")
    with pytest.raises(BadInput, match="--until is not after --since"):
        backtest(tmp_path, stored, since="2026-11-28")


def test_a_damaged_file_of_an_archive_is_said(tmp_path: Path) -> None:
    """What it had is missing from the counts."""
    stored = archived(tmp_path / "archive", fleet())
    broken = max((stored / "events").rglob("*.parquet"))
    broken.write_bytes(broken.read_bytes()[:-100])
    result = backtest(tmp_path, stored, "--format", "json", "-q")

    assert found(result)["Read"]["by_day"] == {"2026-11-25": 4}
    assert any("could not be read" in each for each in json.loads(result.stdout)["not_seen"])


def test_what_was_counted_until_a_backtest_is_stopped_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C after the first two days: the last line states how far it came."""
    stored = archived(tmp_path / "archive", fleet())
    taken: list[int] = []
    take = BacktestVersion.take

    def interrupted(version: BacktestVersion, batch: StoredBatch, *, is_counted: bool) -> None:
        take(version, batch, is_counted=is_counted)
        taken.append(batch.appended)
        if len(taken) == 4:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(BacktestVersion, "take", interrupted)
    result = backtest(tmp_path, stored, "--format", "json", "-q")

    assert result.exit_code == 0
    assert found(result)["Read"]["by_day"] == {"2026-11-25": 4}
    assert json.loads(result.stdout)["not_seen"][0].startswith("stopped early, after the events of 20")


def test_replay_prints_the_alerts_of_an_archive_instead(tmp_path: Path) -> None:
    """One by one, those of a time range."""
    stored = archived(tmp_path / "archive", fleet())
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES)
    words = ["replay", str(stored), "-r", str(rules), "--since", "2026-11-26T00:00:00+00:00", "--format", "json"]
    done = CliRunner().invoke(lanner_command, words, catch_exceptions=False)

    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [each["rule"] for each in lines].count("Read") == 4
    assert {each["time"][:10] for each in lines} == {"2026-11-26"}


NOISY = "\n- {rule: Noisy, desc: d, condition: evt.type = openat, output: o, priority: ERROR}\n"


def compiled(folder: Path, text: str) -> CompiledDetection:
    """Compile rules."""
    path = folder / "compiled.yaml"
    path.write_text(text)
    return load_detection(Settings(rules_files=(str(path),), rule_matching="all"), warnings=False)


def checked(
    folder: Path, demand: DemandedBacktest, *limits: tuple[PriorityName, int], force: bool = False, text: str = NOISY
) -> tuple[str, list[str]]:
    """Check rules of which one is new; return the line for the record, and what was shown."""
    of_settings = BacktestSettings(limits=tuple(BacktestLimit(*each) for each in limits))
    published_rules = replace(Settings().published_rules, backtest=of_settings)
    shown: list[str] = []
    line = check_backtest(
        Settings(published_rules=published_rules),
        demand,
        compiled(folder, RULES),
        compiled(folder, RULES + text),
        shown.append,
        force=force,
        quiet=True,
    )
    return line, shown


@pytest.fixture
def demand(tmp_path: Path) -> DemandedBacktest:
    """Return a backtest over two of the three days of the archive."""
    stored = archived(tmp_path / "archive", fleet())
    return DemandedBacktest(stored, BacktestRange(START + DAY_MS, START + 3 * DAY_MS))


def test_new_rules_are_counted_and_recorded(tmp_path: Path, demand: DemandedBacktest) -> None:
    """Rules that stay as they are aren't."""
    line, shown = checked(tmp_path, demand, ("error", 4), ("critical", 0))

    assert line == "backtest: 8 alerts in 1 day on 2 hosts"
    assert shown[:3] == [
        "1 new or changed rule would have raised 8 alerts in 1 day on 2 hosts.",
        "  events of only 1 day are stored.",
        "  Noisy (Error): 8 on 2 hosts, most a day 4",
    ]


def test_more_than_a_limit_is_refused_without_force(tmp_path: Path, demand: DemandedBacktest) -> None:
    """The busiest day counts, and only rules of the limit's priority; the record has the reason."""
    refused = "4 alerts of priority Error or higher on 2026-11-2[56]; the limit in published_rules.backtest.limits is 3"
    with pytest.raises(BadInput, match=refused):
        checked(tmp_path, demand, ("critical", 0), ("error", 3))
    line, _ = checked(tmp_path, demand, ("error", 3), force=True)
    assert line.startswith("backtest: 8 alerts in 1 day on 2 hosts; published by --force: 4 alerts of priority Error")


def test_a_backtest_that_is_not_possible_is_refused_without_force(tmp_path: Path, demand: DemandedBacktest) -> None:
    """Zero alerts would look like a quiet rule if no events of the time are stored, or nothing is there."""
    later = replace(demand, range=BacktestRange(START + 9 * DAY_MS, START + 10 * DAY_MS))
    for each, why in ((later, "no events of this time are stored"), (replace(demand, where=tmp_path / "none"), "none")):
        with pytest.raises(BadInput, match=f"no backtest is possible on .*{why}"):
            checked(tmp_path, each)
        line, _ = checked(tmp_path, each, force=True)
        assert line.startswith("published by --force, although no backtest is possible on ")


def test_nothing_is_read_if_no_rule_changed(tmp_path: Path, demand: DemandedBacktest) -> None:
    """A new output or a disabled rule raises no alert that the version before didn't."""
    off = "\n- {rule: Off, desc: d, condition: evt.type = openat, output: o, priority: ERROR, enabled: false}\n"
    line, shown = checked(tmp_path, replace(demand, where=tmp_path / "none"), text=off)

    assert line == ""
    assert shown == ["no rule would alert on other events than before, so nothing was backtested."]


def test_an_option_precedes_the_setting() -> None:
    """Neither demands anything by default."""
    settings = replace(Settings().published_rules, backtest=BacktestSettings("/archive", "12h"))
    both = Settings(published_rules=settings)

    assert demanded_backtest(Settings(), None, None, default="7d") is None
    found = demanded_backtest(both, None, None, default=None)
    assert found is not None
    assert (found.where, round(found.range.days, 3)) == (Path("/archive"), 0.5)
    found = demanded_backtest(both, "topic", "2d", default="7d")
    assert found is not None
    assert (found.where, found.name, round(found.range.days, 3)) == (None, "the topics", 2.0)
    with pytest.raises(BadInput, match="--since goes with --backtest"):
        demanded_backtest(Settings(), None, "2d", default=None)


def test_tuning_states_what_the_changed_rules_would_have_raised(tmp_path: Path) -> None:
    """With the harmless exceptions together: reads by one program become quiet, others don't."""
    programs = [replace(INIT, pid=7 + number, name=name, exepath=f"/usr/bin/{name}", codepath=f"/usr/bin/{name}",
                        args=("/secret",)) for number, name in enumerate(("backup", "tar"))]  # fmt: skip
    reads = batch_of(
        *({"type": "openat", "fd_name": f"/secret/part{at % 4}", "fd_type": "file", "res": 3, "process": at % 2}
          for at in range(10)), processes=programs
    )  # fmt: skip
    taking = intake(tmp_path / "archive")
    taking.take("events", Received(encode_batch(reads), EVENT_TIME // 1_000_000), 0.0)
    list(taking.store_all())

    words = ("--backtest", tmp_path / "archive")
    done = tune(tmp_path, *words)
    assert "Backtest of less than an hour: 10 alerts before, 5 with the harmless exceptions." in done.stdout
    assert "  Secret read: 10 before, 5 after" in done.stdout
    first = json.loads(tune(tmp_path, *words, "--format", "json", "-q").stdout)[0]
    assert (first["backtest"]["before"], first["backtest"]["after"]) == (10, 5)


def test_tuning_goes_on_without_the_archive(tmp_path: Path) -> None:
    """A proposal is worth something without it; a warning states that it wasn't tried."""
    done = tune(tmp_path, "--backtest", tmp_path / "none")

    assert "2 proposed exceptions" in done.stdout
    assert "no backtest is possible on" in done.stderr


def test_publishing_names_a_time_that_is_none(tmp_path: Path) -> None:
    """Before it asks a broker."""
    (tmp_path / "rules.yaml").write_text(RULES)
    words = ["rules", "publish", str(tmp_path / "rules.yaml"), "--backtest", "topic", "--since", "x", "--yes"]
    with pytest.raises(BadInput, match="--since: 'x' is not a valid time"):
        CliRunner().invoke(lanner_command, words, catch_exceptions=False)
