"""The shipped recording shows every rule to people who may not watch their machine, and reveals nothing about ours."""

import re
from pathlib import Path

import pytest

from lanner.demo import WITHOUT_ACTION
from processor.detection.stage import compile_ruleset
from processor.evaluator import Evaluator
from processor.loading import LoadResult, load_rules, read_rule_files
from schemas.batch import EventBatch
from schemas.encoding.recording import read_recording
from tests.unit.rules.shipped import RULES, rules

FOREIGN = re.compile(r"/home/|/work|/srv|/mnt|venv/|\.pyenv|\.cargo|tests\.live")


@pytest.fixture(scope="module")
def batches() -> list[EventBatch]:
    """Read the recording."""
    return list(read_recording(RULES / "acts.avro"))


@pytest.fixture(scope="module")
def loaded() -> LoadResult:
    """Load the shipped rules."""
    return load_rules(read_rule_files([RULES]))


@pytest.mark.parametrize("name", [name for name in rules() if name not in WITHOUT_ACTION])
def test_each_shipped_rule_fires_on_it(name: str, loaded: LoadResult, batches: list[EventBatch]) -> None:
    """Also the rules that are off, for it holds events and not alerts."""
    rules_of_name = [rule for rule in loaded.rules if rule.name == name]
    evaluator = Evaluator(compile_ruleset(rules_of_name, loaded.macros))

    alerts = [alert for batch in batches for alert in evaluator.replay(batch)]

    assert alerts
    assert {alert.rule for alert in alerts} == {name}


def test_it_names_no_machine(batches: list[EventBatch]) -> None:
    """Host, boot and paths are nobody's; environment variables were never collected."""
    assert {(batch.host_id, batch.hostname) for batch in batches} == {("0" * 32, "example")}
    assert all(process.env is None for batch in batches for process in batch.processes)
    assert [text for text in sorted(texts(batches)) if FOREIGN.search(text)] == []


def test_it_states_where_programs_come_from(batches: list[EventBatch]) -> None:
    """Rules about origins can be tried on it."""
    files = [process.file for batch in batches for process in batch.processes if process.file is not None]
    scripts = [process.script for batch in batches for process in batch.processes if process.script is not None]
    assert {file.origin for file in files} >= {"package", "dropped", "image", "memory"}
    assert {script.origin for script in scripts} == {"package", "dropped"}
    assert {file.origin for file in files if file.sha256} >= {"package", "dropped", "image"}


def test_its_batches_follow_each_other(batches: list[EventBatch]) -> None:
    """A replay that checks for gaps finds none."""
    assert [batch.sequence for batch in batches] == list(range(1, len(batches) + 1))
    numbers = [batch.first_number for batch in batches]
    assert numbers == [1 + sum(batch.count for batch in batches[:index]) for index in range(len(batches))]


def texts(batches: list[EventBatch]) -> set[str]:
    """Return all text in events and processes."""
    found = {text for batch in batches for text in batch.strings if text is not None}
    for process in (process for batch in batches for process in batch.processes):
        facts = (process.exe, process.exepath, process.cwd, process.cgroup, process.home, *(process.args or ()))
        facts += (process.codepath, process.script and process.script.path)
        found |= {fact for fact in facts if fact is not None}
    return found


def test_anybody_may_read_the_file() -> None:
    """Recordings are their owner's alone; this one is everybody's."""
    assert Path(RULES / "acts.avro").stat().st_mode & 0o444 == 0o444
