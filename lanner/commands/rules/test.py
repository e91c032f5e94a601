"""`lanner rules test`: runs the rules' tests."""

import json
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import click

from lanner.cli.app import Options, front_command
from lanner.cli.options import alone_option, write_text
from lanner.errors import BAD_INPUT, BadInput
from lanner.ruleset.load import load_or_fail
from lanner.ruletest.generate import cases_from
from lanner.ruletest.model import Case
from lanner.ruletest.reading import TestFiles, find_tests
from lanner.ruletest.report import as_rows, counts, failures, gaps, junit_xml, progress
from lanner.ruletest.running import CaseResult, RuleCoverage, Runner, coverage
from lanner.sources.installed import define_sources, source_named
from lanner.terminal.output import coloured
from lanner.wiring.rules import find_below, find_rules, load_detection
from processor.loading import report
from schemas.batch import EventBatch
from schemas.encoding.batch import BadBatch
from schemas.encoding.recording import read_recording


@front_command(
    "test",
    example=(
        "lanner rules test my_rules.yaml          (runs my_rules_test.yaml)\n"
        "lanner rules test rules/ --junit report.xml\n"
        "lanner rules test --from alert.json >> my_rules_test.yaml"
    ),
)
@click.argument("paths", nargs=-1, metavar="PATH...")
@click.option("--junit", type=click.Path(path_type=Path, dir_okay=False), help="Write the results as JUnit XML here.")
@click.option("--strict", is_flag=True, help="A rule without a test counts as a failure.")
@alone_option
@click.option("--from", "source", metavar="ALERT.json|RECORDING", help="Print test cases made from this instead.")
def command(
    options: Options, paths: tuple[str, ...], junit: Path | None, source: str | None, *, strict: bool, alone: bool
) -> int:
    """Run the tests of rules: NAME_test.yaml beside NAME.yaml. Needs no kernel, privileges or broker.

    A PATH is a test file, a rule file or a folder; without one, the active rules are tested. The rule file beside a
    test file is loaded after the active rules, as `lanner rules validate` does; its own rules are evaluated, and those
    that it changes. A test file that names its rules is run with these alone, and --rules replaces them. Exits with 1
    if a test fails or a file is wrong. docs/rules.md describes the format.
    """
    settings = options.settings()
    if source is not None:
        click.echo(
            cases_from(
                source,
                lambda: load_or_fail(find_rules(settings), warnings=False),
                lambda: load_detection(settings, warnings=False),
            ),
            nl=False,
        )
        return 0
    define_sources(settings)
    rule_paths = paths or tuple(file.name for file in find_rules(settings).files)
    given = options.rules if paths else ()
    found = find_tests(rule_paths, given, () if given else find_below(settings, alone=alone))
    if found.problems:
        raise BadInput(*(report.as_text([problem]).rstrip("\n") for problem in found.problems))
    matching = settings.rule_matching
    suites: list[tuple[str, list[CaseResult]]] = []
    for tested in found.tested:
        runner = Runner(tested.suite, tested.rules, matching, _read, partial(source_named, settings))
        outcomes = [_run(runner, case) for case in tested.suite.cases]
        suites.append((tested.suite.file, outcomes))
        if options.format != "json":
            click.echo(progress(tested.suite.file, outcomes, verbose=options.verbose, colour=_colour()), nl=False)
    lacking = _coverage(found)
    if junit is not None:
        write_text(junit, junit_xml(suites))
    if options.format == "json":
        click.echo(json.dumps(as_rows(suites, lacking), indent=2))
    else:
        click.echo(failures(suites, colour=_colour()), nl=False)
        click.echo("" if options.quiet else gaps(lacking, colour=_colour()), nl=False)
        click.echo(counts(suites, colour=_colour()), nl=False)
    failed = any(not outcome.passed for _, outcomes in suites for outcome in outcomes)
    return BAD_INPUT if failed or (strict and lacking.untested) else 0


def _run(runner: Runner, case: Case) -> CaseResult:
    try:
        return runner.run(case)
    except OSError as error:
        raise BadInput(f"{case.location.file}:{case.location.line}: {case.recording}: {error.strerror}.") from None
    except BadBatch as error:
        raise BadInput(f"{case.location.file}:{case.location.line}: {error}.") from None


def _read(path: str) -> Iterable[EventBatch]:
    return read_recording(Path(path))


def _coverage(found: TestFiles) -> RuleCoverage:
    rules = {file: list(rules) for file, rules in found.untested}
    for tested in found.tested:
        rules[tested.suite.file] = [rule for rule in tested.rules.rules if rule.name in tested.own]
    return coverage([tested.suite for tested in found.tested], rules)


def _colour() -> bool:
    return coloured(sys.stdout)
