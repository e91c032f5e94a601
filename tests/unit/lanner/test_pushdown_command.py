import json
from pathlib import Path

from collector.events.system_calls import EVERYTHING
from processor.detection.stage import compile_ruleset
from processor.detection.view import BatchView
from processor.loading import load_rules, read_rule_files
from processor.pushdown.cost import RecordedEvents, shares
from processor.rule import RulesetOptions
from schemas.encoding.recording import read_recording
from tests.unit.lanner.program import lanner

ROOT = Path(__file__).parents[3]
RECORDING = ROOT / "rules" / "acts.avro"
RULES = """
- rule: dear
  desc: any
  condition: evt.type = connect and (fd.type = ipv4 or fd.name contains example)
  output: any
  priority: NOTICE
- rule: any container
  desc: any
  condition: evt.type = unshare and container.id != host
  output: any
  priority: NOTICE
- rule: cheap
  desc: any
  condition: evt.type = openat and fd.name = /etc/shadow
  output: any
  priority: NOTICE
"""


def test_the_part_that_makes_an_event_type_dear_is_named(tmp_path: Path) -> None:
    """The rule is named as well; a type that the kernel can evaluate has neither."""
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES)

    rows = {row.split()[0]: row for row in lanner("-r", rules, "rules", "pushdown").stdout.splitlines()}

    assert rows["connect"].split()[:4] == ["connect", "all", "1", "dear"]
    assert rows["connect"].endswith("fd.name contains example")
    assert rows["unshare"].split()[1] == "all"
    assert rows["unshare"].endswith("container.id != host")
    assert rows["openat"].split() == ["openat", "some", "1"]


def test_a_rule_that_turns_everything_on_is_named(tmp_path: Path) -> None:
    """Event types that no collector sends are not mentioned; unseen ones are listed below the table."""
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES.replace("evt.type = connect and ", ""))

    done = lanner("-r", rules, "rules", "pushdown")
    assert "rule 'dear' enables all" in done.stderr
    assert {row.split()[0] for row in done.stdout.splitlines()[1:]} == EVERYTHING

    text = lanner("-r", rules, "rules", "pushdown", "--recording", RECORDING).stdout.splitlines()
    unseen = next(row for row in text if row.startswith("Not seen: ")).removeprefix("Not seen: ").split(", ")
    assert "delete_module" in unseen
    assert not {row.split()[0] for row in text} & set(unseen)


def test_shares_are_counted_on_a_recording() -> None:
    """Shares are counted by event type and rule, as a table and as JSON."""
    done = lanner("rules", "pushdown", "--recording", RECORDING, "--format", "json", cwd=ROOT)
    assert done.returncode == 0, done.stderr
    openat = next(row for row in json.loads(done.stdout) if row["event"] == "openat")
    assert openat["seen"] > openat["passed"] > 0
    assert sum(share["sent"] for share in openat["rules"]) >= openat["passed"]

    text = lanner("rules", "pushdown", "--recording", RECORDING, cwd=ROOT).stdout
    assert text.splitlines()[-1].endswith("% left out")


def test_what_is_no_recording_is_reported() -> None:
    """The error names the file."""
    done = lanner("rules", "pushdown", "--recording", ROOT / "Makefile", cwd=ROOT)

    assert done.returncode == 1
    assert "Makefile" in done.stderr


def test_no_act_that_a_shipped_rule_finds_would_be_left_out() -> None:
    """The filter keeps all recorded actions that built-in rules detect."""
    loaded = load_rules(read_rule_files(sorted((ROOT / "rules").glob("*.yaml"))))
    detector = compile_ruleset(loaded.rules, loaded.macros, RulesetOptions(rule_matching="all")).detector
    named = list(zip(detector.rule_names, detector.conditions, strict=True))
    costs = shares(named, sorted(detector.event_types))
    found = 0
    for batch in read_recording(RECORDING):
        events = RecordedEvents(batch)
        for alert in detector.process(BatchView(batch)):
            index = int(str(alert.event["evt.num"])) - batch.first_number
            clauses = [
                clause for share in costs[events.event(index)] if share.rule == alert.rule for clause in share.clauses
            ]
            assert events.passes(index, clauses), alert.rule
            found += 1
    assert found > 20
