"""Run attack steps, evaluate four sets of rules on the run, and write docs/detection.md.

    sudo python -m bench.detection [--atomics DIR] [--falco DIR] [--recording DIR] [--evaluate]

`make prove` calls it. The tests are those of a folder in Atomic Red Team's format, with their grades in tests.jsonl.
With --evaluate, the run that is in the folder of the recording is evaluated again.
"""

import argparse
import json
import platform
import re
import subprocess
from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from bench.detection.page import PAGE, page
from bench.detection.precision import own_words, unexplained
from bench.detection.results import PROVE, ProvenTest, Results, SetCost, read_reasons, write_results
from lanner.commands.prove import for_guests
from lanner.prove.atomics import AtomicTest, read_folder
from lanner.prove.grades import Seen, TestResult, graded
from lanner.prove.recording import EVENTS, RecordedRun
from lanner.settings import Settings
from lanner.settings.sections.model import Selection, Target
from lanner.wiring.rules import load_detection, repeated_alerts
from schemas.batch import events_lost
from schemas.catalog.priorities import SEVERITY, Priority
from schemas.encoding.recording import read_recording
from tests.reference import shared_dir

_STABLE = "falco_rules.yaml"
_FALCO = (_STABLE, "falco-incubating_rules.yaml", "falco-sandbox_rules.yaml")
_EVERY = (Selection(enable=Target(rule="*")),)
_GUESTS = 4


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the tests and write the page."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.detection", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    shared = shared_dir()
    parser.add_argument("--atomics", type=Path, default=shared / "atomics")
    parser.add_argument("--falco", type=Path, default=shared / "conformance/rules_files/falcosecurity_rules")
    parser.add_argument("--recording", type=Path, default=Path("build/prove"))
    parser.add_argument("--evaluate", action="store_true")
    options = parser.parse_args(arguments)
    if not options.evaluate:
        every = ",".join(str(options.falco / name) for name in _FALCO)
        command = [options.atomics, "--recording", options.recording, "--guests", str(_GUESTS)]
        command += ["--for", options.falco / _STABLE, "--for", every, "--format", "json"]
        subprocess.run([*PROVE, *map(str, command)], check=True, stdout=subprocess.DEVNULL)
    results = evaluate(options.atomics, options.falco, options.recording)
    write_results(results)
    PAGE.write_text(page(results, read_reasons()))
    print(f"{PAGE}: {len(results.undetected)} tests that ought to alert do not")


def evaluate(atomics: Path, falco: Path, recording: Path) -> Results:
    """Evaluate each set of rules on a recorded run."""
    tests, _ = read_folder(atomics)
    grades = {each["guid"]: each["grade"] for each in map(json.loads, (atomics / "tests.jsonl").open())}
    tests = [test for test in tests if test.guid in grades]
    stable, all_files = (tuple(str(falco / name) for name in names) for names in ((_STABLE,), _FALCO))
    settings = (
        Settings(),
        Settings(rules=_EVERY),
        Settings(rules_files=stable),
        Settings(rules_files=all_files, rules=_EVERY),
    )
    costs, found = zip(*(_evaluated(recording, tests, each) for each in settings), strict=True)
    batches = list(read_recording(recording / EVENTS))
    made = datetime.fromtimestamp(batches[-1].created / 1e9, UTC)
    return Results(
        date=made.date().isoformat(),
        kernel=platform.release().partition("-")[0],
        lost=sum(events_lost(batch.lost) for batch in batches),
        costs=costs,
        tests=tuple(_proven(of_sets, grades[of_sets[0].test.guid], atomics) for of_sets in zip(*found, strict=True)),
    )


def _evaluated(recording: Path, tests: Sequence[AtomicTest], settings: Settings) -> tuple[SetCost, list[TestResult]]:
    chosen = for_guests(replace(settings, priority="debug"))
    detection = load_detection(chosen, warnings=False)
    run = RecordedRun(recording).evaluated(tests, detection.ruleset, detection.pushdown_filter, repeated_alerts(chosen))
    alerts = sum(len(result.alerts) for result in run.results)
    cost = SetCost(detection.count, run.events, round(run.seconds, 2), alerts, len(run.of_nothing))
    return cost, [_noticed(result, run.of_nothing) for result in run.results]


def _noticed(result: TestResult, of_nothing: Container[str]) -> TestResult:
    """Leave out alerts below Notice, and those of rules that also report a command that does nothing."""
    if result.status == "not run":
        return result
    alerts = [
        alert for alert in result.alerts if SEVERITY[alert.priority] <= Priority.NOTICE and alert.rule not in of_nothing
    ]
    return graded(result.test, result.reason, Seen(result.run, result.events, alerts), 0)


def _proven(of_sets: Sequence[TestResult], grade: str, atomics: Path) -> ProvenTest:
    test = of_sets[0].test
    numbers = Counter((alert.rule, alert.priority) for alert in of_sets[0].alerts)
    return ProvenTest(
        guid=test.guid,
        technique=test.technique,
        name=test.name,
        grade=grade,
        statuses=tuple(result.status for result in of_sets),
        # The descriptions of prerequisites are the tests' own text.
        reason="" if of_sets[0].run else re.sub(r"(?s)(?<=prerequisite not met):.*", "", of_sets[0].reason),
        rules=tuple(
            f"{rule} ({priority})" + (f" x{number}" if number > 1 else "")
            for (rule, priority), number in numbers.items()
        ),
        unexplained=tuple(dict.fromkeys(unexplained(own_words(test, atomics), of_sets[0].alerts))),
    )


if __name__ == "__main__":
    main()
