"""Captures: each event as Falco shows it, field by field, and the alerts of Falco's own rules."""

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from lanner.cli.app import lanner_command
from lanner.recorder.store import from_files
from processor.fields.extract import extract
from schemas.catalog.fields import resolve_field
from tests.reference import conformance_dir, is_required, needs, present

Fields = dict[str, Any]
_NO_EVENTS = {"container", "container_added", "container_removed"}
"""Announcements of containers, which are no events for Lanner's rules."""
_TIMES = {"evt.time", "evt.time.iso8601"}
"""Numbers in Falco's output, texts as values: the time is compared as evt.rawtime."""


def _folder() -> Path:
    return conformance_dir().parent


def _names() -> list[Any]:
    folder = _folder() / "expected" / "events"
    if not folder.exists() and not is_required():
        return [pytest.param("", marks=needs(folder))]
    return sorted(path.name.removesuffix(".jsonl.gz") for path in folder.glob("*.gz"))


def _ours(name: str, fields: list[str]) -> dict[int, Fields]:
    """Return the fields of each event of a capture, by its number."""
    found: dict[int, Fields] = {}
    resolved = {field: resolve_field(field) for field in fields}
    for stored in from_files((_folder() / "captures" / f"{name}.scap",)):
        batch = stored.batch
        for i in range(batch.count):
            found[batch.numbers[i] if batch.numbers else batch.first_number + i] = {
                field: extract(batch, i, spec[0].name, spec[1]) for field, spec in resolved.items() if spec is not None
            }
    return found


def _is_known_difference(field: str, theirs: Fields, ours: Any) -> bool:
    """Return whether docs/captures.md states a difference."""
    value = theirs[field]
    if field.startswith("container.image."):
        # On the host, fields of images are missing.
        return bool(value == "" and ours is None and theirs["container.id"] == "host")
    # Falco's output replaces control characters.
    return isinstance(value, str) and "\ufffd" in value


@pytest.mark.parametrize("name", _names())
def test_each_event_reads_as_in_falco(name: str) -> None:
    """All fields of all events are Falco's."""
    with gzip.open(_folder() / "expected" / "events" / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        expected = [json.loads(line)["output_fields"] for line in lines]
    ours = _ours(name, [*(field for field in expected[0] if field not in _TIMES), "evt.rawtime"])
    wrong: Counter[str] = Counter()
    examples: dict[str, Any] = {}
    for theirs in expected:
        number = theirs["evt.num"]
        if theirs["evt.type"] in _NO_EVENTS:
            continue
        assert number in ours, theirs
        assert ours[number].pop("evt.rawtime") == theirs["evt.time"]
        for field, value in ours[number].items():
            if value != theirs[field] and not _is_known_difference(field, theirs, value):
                wrong[field] += 1
                examples.setdefault(field, (number, theirs[field], value))

    assert wrong == {}, examples


@pytest.mark.parametrize("matching", ["first", "all"])
def test_falcos_rules_raise_the_alerts_that_they_raise_in_falco(matching: str) -> None:
    """The same rules at the same times, on a capture of containers."""
    expected = present(_folder() / "expected" / "alerts" / f"containers.{matching}.jsonl")
    rules = _folder() / "rules_files" / "falcosecurity_rules"
    words = ["replay", str(_folder() / "captures" / "containers.scap"), "--format", "json", "-q"]
    words += ["-o", f"rule_matching={matching}"]
    for name in ("falco_rules", "falco-incubating_rules", "falco-sandbox_rules"):
        words += ["-r", str(rules / f"{name}.yaml")]

    done = CliRunner().invoke(lanner_command, words, catch_exceptions=False)

    assert _rules_and_times(done.stdout) == _rules_and_times(expected.read_text(encoding="utf-8"))


def _rules_and_times(lines: str) -> list[tuple[str, str]]:
    return sorted((alert["rule"], alert["time"]) for alert in map(json.loads, lines.splitlines()))
