"""What publishing and tuning demand of a backtest, without a broker."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from lanner.cli.app import lanner_command
from lanner.commands.rules.backtested import DemandedBacktest, check_backtest, demanded_backtest
from lanner.errors import BadInput
from lanner.ruleset.compile import CompiledDetection
from lanner.settings import Settings
from lanner.settings.sections.fleet import BacktestLimit, BacktestSettings
from lanner.tuning.backtest import BacktestRange
from lanner.wiring.rules import load_detection
from schemas.catalog.priorities import PriorityName
from schemas.encoding.batch import encode_batch
from tests.unit.lanner.archive.test_intake import Received, intake
from tests.unit.lanner.commands.rules.test_backtest import DAY_MS, RULES, START, archived, fleet
from tests.unit.lanner.commands.rules.test_tune import tune
from tests.unit.processor.batches import INIT, batch_of
from tests.unit.processor.batches import TIME as EVENT_TIME

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
