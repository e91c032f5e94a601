"""Converted rules agree with a slow evaluator of Sigma on generated events.

LANNER_SIGMA_RULES names a folder of rules, such as a copy of SigmaHQ's repository, to compare instead of our own, and
LANNER_SIGMA_EVENTS the number of events for each rule.
"""

import copy
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from lanner.ruletest.reading import read_suite
from lanner.ruletest.world import make_batch
from lanner.sigma.convert import Conversion, convert
from lanner.sigma.rules import LannerRule, file_text
from processor.compiler.operands import names_by_address
from processor.detection.stage import compile_ruleset
from processor.evaluator import Evaluator
from processor.loading import RuleFile, load_rules
from processor.rule import RulesetOptions
from tests.unit.lanner.sigma.actions import Action, Generator
from tests.unit.lanner.sigma.evaluator import matches

OWN = Path(__file__).parent / "rules"
FOLDER = Path(os.environ.get("LANNER_SIGMA_RULES", OWN))
EVENTS = int(os.environ.get("LANNER_SIGMA_EVENTS", "60"))
_PATHS = frozenset({"Image", "ParentImage", "CurrentDirectory", "TargetFilename", "exe", "cwd", "name"})
_EXACT_ENDS = frozenset({"contains", "startswith", "re"})


@pytest.fixture(scope="module")
def conversion() -> Conversion:
    """Return the converted rules."""
    return convert([FOLDER])


@pytest.mark.parametrize("exact_paths", [False, True])
def test_every_rule_agrees_with_the_slow_evaluator(*, exact_paths: bool) -> None:
    """For each rule, on events that it should match, that miss it by little, and that it excludes."""
    conversion = convert([FOLDER], exact_paths=exact_paths)
    seen: Counter[str] = Counter()
    differences: list[str] = []
    for number, rule in enumerate(conversion.rules):
        document = _document(rule)
        if "correlation" in document:
            continue
        actions = list(_valid(Generator(document, number).actions(EVENTS)))
        expected = [matches(_as_documented(document, exact_paths=exact_paths), action.records()) for action in actions]
        found = _found(rule, actions)
        seen[rule.name] += sum(expected)
        differences += [
            f"{rule.name}: {'matches' if one else 'misses'} {action.given()}\n    {rule.condition}"
            for action, one, other in zip(actions, found, expected, strict=True)
            if one is not other
        ]
    assert not differences, "\n".join(differences[:20])
    never = [name for name, count in seen.items() if not count]
    assert len(never) <= len(seen) // 20, never


def test_the_converted_rules_load_without_a_problem(conversion: Conversion) -> None:
    """However many there are."""
    loaded = load_rules([RuleFile("sigma.yaml", file_text("Test", conversion.rules))])
    assert not (*loaded.errors, *loaded.warnings)


def test_nearly_all_rules_convert(conversion: Conversion) -> None:
    """All of the tests' own; of SigmaHQ's, all but a few of those on processes, files and connections."""
    sources = Counter(_source(rule) for rule in conversion.rules)
    three = sum(sources[name] for name in ("process_creation", "file_event", "network_connection"))
    assert three >= (len(conversion.rules) - sources["auditd"] if FOLDER == OWN else 160)
    assert sources["auditd"] >= (1 if FOLDER == OWN else 45)


def _source(rule: LannerRule) -> str:
    source = _document(rule).get("logsource", {})
    return str(source.get("category") or source.get("service"))


def _document(rule: LannerRule) -> dict[str, Any]:
    documents = yaml.safe_load_all(Path(rule.attribution.file).read_text("utf-8"))
    wanted = (str(rule.sigma.id), rule.sigma.title)
    return next(each for each in documents if each and (str(each.get("id")), each.get("title")) == wanted)


def _as_documented(rule: Mapping[str, Any], *, exact_paths: bool) -> dict[str, Any]:
    """Write out what docs/sigma.md states about directories, and about SYSCALL records without a call."""
    made = copy.deepcopy(dict(rule))
    for item in _maps(list(made["detection"].values())):
        kinds = item.get("type")
        if str(kinds).upper() == "SYSCALL" and not {"SYSCALL", "syscall"} & item.keys():
            item["SYSCALL"] = "execve"
        for key in list(item):
            name, *modifiers = key.split("|")
            if name in ("CurrentDirectory", "cwd") and not _EXACT_ENDS & set(modifiers):
                values = item[key] if isinstance(item[key], list) else [item[key]]
                item[key] = [f"{value.rstrip('/')}/" if isinstance(value, str) else value for value in values]
        if exact_paths:
            _make_exact(item)
    maps = list(_maps(list(made["detection"].values())))
    if "auditd" in made["logsource"].values() and not any("type" in item for item in maps):
        for item in maps:
            item["type"] = "EXECVE"
    return made


def _make_exact(item: dict[str, Any]) -> None:
    for key in list(item):
        name, *modifiers = key.split("|")
        if name in _PATHS and not {"re", "exists", "fieldref"} & set(modifiers):
            item["|".join([name, *modifiers, "cased"])] = item.pop(key)


def _maps(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _maps(item)


def _case(action: Action) -> str:
    names = {action.server_name: action.server} if action.server_name else {}
    case = {"name": "x", "given": [action.given()], "expect": "none", **({"names": names} if names else {})}
    return yaml.safe_dump({"cases": [case]}, allow_unicode=True, width=10**6)


def _valid(actions: Iterator[Action]) -> Iterator[Action]:
    """Leave out what no kernel could report, such as an empty name."""
    for action in actions:
        _, problems = read_suite("a_test.yaml", _case(action))
        if not problems:
            yield action


def _found(rule: LannerRule, actions: list[Action]) -> list[bool]:
    loaded = load_rules([RuleFile("sigma.yaml", file_text("Test", [rule]))])
    evaluator = Evaluator(compile_ruleset(loaded.rules, {}, RulesetOptions(rule_matching="all")))
    found = []
    for action in actions:
        suite, _ = read_suite("a_test.yaml", _case(action))
        batch = make_batch(suite.cases[0].events)
        batch.names = names_by_address(suite.cases[0].names)
        found.append(any(alert.rule == rule.name for alert in evaluator.replay(batch)))
    return found
