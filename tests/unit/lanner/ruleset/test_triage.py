"""The pages of rules lead to what works."""

import json
import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import yaml

from lanner.ruleset.triage import COMMON, exceptions, exceptions_yaml, field_row, sentences, triage_page
from lanner.ruletest.model import Suite
from lanner.ruletest.reading import find_tests
from lanner.ruletest.running import rules_to_evaluate
from lanner.ruletest.world import make_batch
from processor.detection.stage import compile_ruleset
from processor.evaluator import Evaluator
from processor.loading import LoadResult, RuleFile, load_rules, read_rule_files
from processor.loading.problems import ProblemCode
from processor.rule import RuleException, RulesetOptions
from schemas.alert import Alert
from tests.unit.lanner.program import lanner
from tests.unit.processor.sessions import shells
from tests.unit.rules.shipped import RULES, rules

ROOT = Path(__file__).parents[4]


@cache
def files() -> dict[str, list[str]]:
    """Read the items of the shipped rules, by file."""
    read = read_rule_files([RULES, RULES / "kubernetes"])
    return {file.name: re.split("^(?=- )", Path(file.name).read_text(), flags=re.MULTILINE) for file in read}


@cache
def loaded() -> LoadResult:
    """Load the shipped rules."""
    result = load_rules([RuleFile(file, "".join(items)) for file, items in files().items()])
    assert (result.errors, result.warnings) == ((), ())
    return result


@cache
def words() -> dict[str, frozenset[str]]:
    """Return the words of each macro and list, by its name."""
    items = (re.match(r"- (?:macro|list): (\w+)\n", item) for file in files().values() for item in file)
    return {item[1]: frozenset(re.findall(r"\w+", item.string)) for item in items if item}


def loaded_with(more: str, name: str) -> LoadResult:
    """Load more after the shipped rule of that name, and after the macros and lists that it uses."""
    rule = next(item for file in files().values() for item in file if item.startswith(f"- rule: {name}\n"))
    used, found = set[str](), set(re.findall(r"\w+", rule))
    while found := {word for word in found if word in words()} - used:
        used |= found
        found = {word for each in found for word in words()[each]}
    heads = (f"- rule: {name}\n", *(f"- {kind}: {each}\n" for each in used for kind in ("macro", "list")))
    some = [item for items in files().values() for item in items if item.startswith(heads)]
    result = load_rules([RuleFile("shipped.yaml", "".join(some)), RuleFile("mine.yaml", more)])
    # A comment may name others.
    unused = {ProblemCode.LOAD_UNUSED_LIST, ProblemCode.LOAD_UNUSED_MACRO}
    assert (result.errors, {each.code for each in result.warnings} - unused) == ((), set())
    return result


@cache
def suite() -> Suite:
    """Return the shipped cases."""
    return find_tests([str(RULES)], ()).tested[0].suite


def alerts(name: str, result: LoadResult) -> list[Alert]:
    """Return the alerts of one rule for the shipped cases that expect it."""
    [rule] = [rule for rule in rules_to_evaluate(suite(), result.rules) if rule.name == name]
    ruleset = compile_ruleset([rule], result.macros, RulesetOptions(rule_matching="all"))
    cases = [case for case in suite().cases if any(each.rule == name for each in case.expected)]
    return [alert for case in cases for alert in Evaluator(ruleset).replay(make_batch(case.events))]


def page(name: str) -> str:
    """Return the page of a shipped rule."""
    return triage_page(next(rule for rule in loaded().rules if rule.name == name), loaded())


def test_the_fields_of_every_alert_are_listed_as_the_catalog_describes_them() -> None:
    """The pages of rules leave them out."""
    table = "".join(map(field_row, sorted(COMMON)))

    assert (ROOT / "docs" / "triage.md").read_text().endswith(f"| Field | Description |\n|---|---|\n{table}")


@pytest.mark.parametrize("name", rules())
def test_a_description_says_what_happened_why_it_matters_and_what_is_harmless(name: str) -> None:
    """Each is a section of the page."""
    [rule] = [rule for rule in loaded().rules if rule.name == name]

    what, why, harmless = sentences(rule)

    assert "" not in {what, why, harmless, rule.response}
    assert f"{what} {why} {harmless}" == rule.description
    assert exceptions(rule, loaded())


@pytest.mark.parametrize("name", rules())
def test_each_exception_of_a_page_quiets_the_rule(name: str) -> None:
    """With the value of an alert's own event in the place of the example's."""
    [rule] = [rule for rule in loaded().rules if rule.name == name]
    raised = alerts(name, loaded())

    for each in exceptions(rule, loaded()):
        field = each.field or "proc.codepath"
        value = next(str(alert.event[field]) for alert in raised if alert.event.get(field))
        text = re.sub("/usr/bin/my-(program|parent)|registry.example/team/app", f'"{value}"', each.yaml)
        quieter = alerts(name, loaded_with(re.sub(" and proc.pcodepath = [^)]*", "", text), name))

        assert each.yaml in page(name)
        assert len(quieter) < len(raised), each.name


@pytest.mark.parametrize("name", [rule.name for rule in loaded().rules if rule.exceptions])
def test_values_of_an_alert_in_the_exceptions_of_the_rule_quiet_it(name: str) -> None:
    """Those of one alert quiet at least that one."""
    [rule] = [rule for rule in loaded().rules if rule.name == name]
    raised = alerts(name, loaded())
    found = {each.name: values for each in rule.exceptions if (values := _values(each, raised))}
    filled = yaml.safe_load(exceptions_yaml(rule))
    filled[0]["exceptions"] = [{"name": each, "values": [values]} for each, values in found.items()]

    assert found
    assert len(alerts(name, loaded_with(yaml.safe_dump(filled), name))) < len(raised)
    assert exceptions_yaml(rule) in page(name)


def _values(exception: RuleException, raised: list[Alert]) -> list[str]:
    """Return the values of the first alert that has all fields of an exception."""
    events = (each.event for each in raised)
    return next(
        (
            [str(event[field]) for field in exception.fields]
            for event in events
            if all(event.get(field) for field in exception.fields)
        ),
        [],
    )


@pytest.mark.parametrize("name", ["Interactive shell by person", "Interactive shell by person, audit event later"])
def test_the_exception_of_a_rule_on_audit_events_quiets_it(name: str) -> None:
    """Its page has the fields of these events."""
    [rule] = [rule for rule in loaded().rules if rule.name == name]
    [each] = exceptions(rule, loaded())
    text = each.yaml.replace("my-user", "eve").replace("my-namespace", "prod")
    first, second = shells.requested(0, user="eve"), shells.started(1)
    second.processes[1] = replace(second.processes[1], tty=1, name="bash", exepath="/bin/bash")
    found = []
    for result in (loaded(), loaded_with(text, name)):
        only = [rule for rule in result.rules if rule.name == name]
        evaluator = Evaluator(compile_ruleset(only, result.macros))
        if rule.source == "syscall":
            found.append([*evaluator.replay(first), *evaluator.replay(second)])
        else:
            found.append([*evaluator.replay(second), *evaluator.replay(first)])

    assert each.yaml in page(name)
    assert [len(alerts) for alerts in found] == [1, 0]


def test_show_prints_the_page_of_a_rule() -> None:
    """As text, with the places of links and without the marks of Markdown; in JSON, as Markdown."""
    shown = lanner("rules", "show", "Clear log files", "-r", RULES).stdout
    text = json.loads(lanner("rules", "show", "Clear log files", "-r", RULES, "--format", "json").stdout)["triage"]

    assert text == page("Clear log files")
    assert "\nWhat it means\n-------------\n\nA log of logins" in shown
    assert "\n`fd.name`         Name of the file, or both ends" in shown
    assert "\nThe rule's exceptions (docs/rules.md) compare several fields at once;" in shown
    assert "\n    - macro: known_log_clearing\n      condition: (proc.codepath" in shown
    assert "Indicator Removal (https://attack.mitre.org/techniques/T1070/)" in shown
    assert "##" not in shown
    assert "```" not in shown


def test_the_page_of_a_foreign_rule_is_escaped_and_has_what_the_rule_says(tmp_path: Path) -> None:
    """Texts that look like a table, a heading or code, and an item that isn't defined, do no harm."""
    mine = tmp_path / "mine.yaml"
    text = "red \x1b[31m\n\n|---|---|\n\n```\n# x"
    rule = {"rule": "Mine\n# | b", "desc": text, "condition": "fd.name contains known_hosts and evt.type = open"}
    rule |= {
        "output": "%fd.name %evt.arg.flags",
        "priority": "INFO",
        "exceptions": [{"name": "a", "fields": ["proc.sid"]}],
    }
    mine.write_text(yaml.safe_dump([rule]))

    done = lanner("rules", "show", rule["rule"], "-r", mine)

    assert (done.returncode, done.stderr) == (0, "")
    assert "\\x1b[31m" in done.stdout
    assert "\x1b" not in done.stdout
    assert "- [value]" in done.stdout
    assert "Try it" not in done.stdout
    assert "known_hosts" not in done.stdout.partition("What it means")[2]


def test_every_alert_about_lanner_itself_is_described() -> None:
    """In one of the pages that docs/triage.md names."""
    names = {
        name
        for source in (ROOT / "processor").rglob("*.py")
        for name in re.findall(r'"Lanner internal: ([a-z ]+)"', source.read_text())
    }
    pages = "".join((ROOT / "docs" / name).read_text() for name in ("hosts.md", "rules-in-the-fleet.md", "actions.md"))

    assert len(names) > 10
    assert [name for name in names if f"Lanner internal: {name}" not in pages] == []
