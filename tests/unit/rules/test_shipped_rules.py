"""What the shipped rules match and what leaves them quiet, and what every one of them must have."""

import re
from collections.abc import Iterator
from itertools import chain, product
from pathlib import Path

import pytest

from lanner.ruletest.reading import find_tests
from lanner.ruletest.running import RuleCoverage, Runner, coverage
from processor.language.ast import And, Check, Macro, Node, Not, Or, children, fields_in
from processor.language.printer import print_condition
from processor.loading import RuleFile, load_rules
from processor.output.formatter import suggested
from processor.rule import without_window_tokens
from schemas.catalog.attack import TACTICS, TECHNIQUES
from tests.unit.rules.shipped import RULES, items, rules

CARRIED = (
    *("user.name", "user.uid", "user.loginuid", "proc.name", "proc.exepath", "proc.pname", "proc.cmdline", "proc.tty"),
    *("proc.aname[2]", "proc.aname[3]", "proc.aname[4]", "container.id", "container.name"),
    *("container.image.repository", "container.image.tag", "k8s.pod.name", "k8s.ns.name"),
)
NOT_CHOSEN = {
    *("proc.codepath", "proc.pcodepath", "proc.acodepath"),
    *("proc.ppid", "proc.apid", "proc.pvpid", "proc.is_exe_from_memfd"),
}
"""Facts about a process that whoever starts it doesn't choose."""
NO_EXCEPTIONS = {"is_shell", "container_entry", "runc_entering_container"}
"""Macros that describe what happens, and the one that docs/security.md names among the evasions."""
LIBRARY_PAGE = Path(__file__).parents[3] / "docs" / "rule-library.md"
INTRODUCED = {
    "Terminal shell in container": "NOTICE",
    "Read sensitive file untrusted": "WARNING",
    "Read sensitive file trusted after startup": "WARNING",
    "Launch Package Management Process in Container": "ERROR",
    "Read sensitive file refused": "NOTICE",
}


def test_every_case_beside_the_rules_passes() -> None:
    """All rules evaluate each event, so that no rule reports what another one is for."""
    found = find_tests([str(RULES)], ())
    [tested] = found.tested
    runner = Runner(tested.suite, tested.rules, "all", lambda _path: ())

    outcomes = [runner.run(case) for case in tested.suite.cases]

    assert found.problems == ()
    assert [(outcome.case.name, outcome.failures) for outcome in outcomes if not outcome.passed] == []


def test_every_rule_has_a_case_that_it_matches_and_one_that_leaves_it_quiet() -> None:
    """A rule that no event matches would be quiet permanently without anybody noticing."""
    [tested] = find_tests([str(RULES)], ()).tested

    assert coverage([tested.suite], {tested.suite.file: tested.rules.rules}) == RuleCoverage((), (), ())


def test_no_output_says_of_a_path_what_only_some_of_the_calls_do_to_it() -> None:
    """fs.path.name is also the file that a call empties, opens or links, so it has a neutral name."""
    labels = {label for each in rules().values() for label in re.findall(r"(\w+)=%fs\.path\.name\b", each["output"])}

    assert not {label for label in labels if label.endswith("ed")}, labels


@pytest.mark.parametrize(("name", "priority"), INTRODUCED.items())
def test_rules_of_every_introduction_ship(name: str, priority: str) -> None:
    """People look for these by name."""
    assert rules()[name]["priority"] == priority


@pytest.mark.parametrize("name", rules())
def test_output_names_who_did_it_and_where(name: str) -> None:
    """A line has to be enough to know where to look."""
    output = without_window_tokens(rules()[name]["output"])
    named = [*re.findall(r"%([a-z0-9_.]+(?:\[\d+\])?)", output), *suggested(output).values()]

    assert [field for field in CARRIED if field not in named] == []


@pytest.mark.parametrize("name", rules())
def test_rule_states_what_to_do_about_a_false_positive(name: str) -> None:
    """The description names the place for an exception, and that place exists."""
    names = {item.get("list") or item.get("macro") for item in items() if "rule" not in item}
    named = set(re.findall(r"\bknown_\w+", rules()[name]["desc"]))

    assert named
    assert named <= names


@pytest.mark.parametrize("name", rules())
def test_rule_states_what_to_look_at_first(name: str) -> None:
    """The note is short, because every message about the rule has it."""
    assert 40 < len(rules()[name]["response"]) < 250


@pytest.mark.parametrize("name", rules())
def test_rule_is_tagged_by_place_and_technique(name: str) -> None:
    """Rules are chosen by tags: host or container, tactics and techniques of ATT&CK that belong together."""
    tags = rules()[name]["tags"]

    assert {"host", "container"} & set(tags)
    tactics = {tactic.id for tactic in TACTICS.values() if f"mitre_{tactic.key.replace('-', '_')}" in tags}
    techniques = [tag for tag in tags if re.fullmatch(r"T\d{4}(\.\d{3})?", tag)]
    assert len(tactics) == sum(tag.startswith("mitre_") for tag in tags)
    assert techniques
    for technique in techniques:
        assert tactics & set(TECHNIQUES[technique].tactics), technique
    assert tactics <= {tactic for technique in techniques for tactic in TECHNIQUES[technique].tactics}


def negations(node: Node) -> Iterator[Not]:
    """Yield the outermost negations of a condition."""
    if isinstance(node, Not):
        yield node
    elif not (isinstance(node, Macro) and node.name in NO_EXCEPTIONS):
        yield from chain.from_iterable(map(negations, children(node)))


def alternatives(node: Node, *, negated: bool = False) -> Iterator[tuple[Check, ...]]:
    """Yield what is sufficient for a condition, as the checks that have to be true."""
    if isinstance(node, Not):
        yield from alternatives(node.child, negated=not negated)
    elif isinstance(node, Macro):
        yield from () if node.name in NO_EXCEPTIONS else alternatives(node.body, negated=negated)
    elif isinstance(node, And | Or):
        each = [list(alternatives(child, negated=negated)) for child in node.children]
        if isinstance(node, Or) != negated:
            yield from chain.from_iterable(each)
        else:
            yield from (tuple(chain.from_iterable(parts)) for parts in product(*each))
    elif isinstance(node, Check):
        yield () if negated else (node,)


def test_no_exception_goes_by_what_whoever_starts_a_program_chooses() -> None:
    """Each that is about a process is also about the code that the kernel executed."""
    loaded = load_rules([RuleFile("r.yaml", (RULES / "lanner_rules.yaml").read_text())])
    claims = set()
    for negation in chain.from_iterable(negations(rule.condition) for rule in loaded.rules):
        for found in alternatives(negation.child):
            fields = {field.name for check in found for field in fields_in(check.left)}
            if any(name.startswith("proc.") for name in fields) and fields.isdisjoint(NOT_CHOSEN):
                claims.add(" and ".join(map(print_condition, found)))

    # crontab's -l lists, and what a server's shell starts is reported as the shell was.
    assert {each.partition(" ")[0] for each in claims} == {"proc.args", "proc.pname"}, claims
    assert len(claims) == 2, claims


def test_exceptions_without_values_cost_nothing() -> None:
    """The conditions that are compiled are those of the same rules without them."""
    text = (RULES / "lanner_rules.yaml").read_text()
    plain_text = re.sub(r"(?m)^  exceptions:\n(    - .*\n)+", "", text)
    with_them, without_them = (load_rules([RuleFile("r.yaml", each)]).rules for each in (text, plain_text))

    assert sum(bool(rule.exceptions) for rule in with_them) > 80
    assert not any(rule.exceptions for rule in without_them)
    for rule, plain in zip(with_them, without_them, strict=True):
        assert print_condition(rule.condition) == print_condition(plain.condition)


def test_the_documented_counterparts_of_falcos_rules_ship() -> None:
    """The table has a rule of ours, or the reason why there is none, for each of Falco's."""
    table = LIBRARY_PAGE.read_text().partition("| Falco | Lanner |")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \| (.+?) \|$", table, flags=re.MULTILINE)
    counterparts = {falco: re.findall(r"\*(.+?)\*", ours) for falco, ours in rows if not ours.startswith("none: ")}

    assert len(rows) == len(dict(rows)) == 93
    assert all(counterparts.values())
    assert {name for names in counterparts.values() for name in names} <= set(rules())


def test_names_of_processes_fit_the_kernel() -> None:
    """A name of more than 15 bytes is never seen."""
    names = [
        name
        for item in items()
        if str(item.get("list", "")).endswith(("_names", "_managers"))
        for name in item["items"]
    ]
    lists = {item["list"] for item in items() if "list" in item}

    assert [name for name in names if name not in lists and len(name.strip('"')) > 15] == []


def test_every_case_beside_the_optional_rules_passes() -> None:
    """They are loaded behind those that are active by default."""
    [tested] = find_tests([str(RULES / "kubernetes")], ()).tested
    runner = Runner(tested.suite, tested.rules, "all", lambda _path: ())
    own = [rule for rule in tested.rules.rules if Path(rule.file).name == "person_rules.yaml"]

    outcomes = [runner.run(case) for case in tested.suite.cases]
    gaps = coverage([tested.suite], {tested.suite.file: own})

    assert [(outcome.case.name, outcome.failures) for outcome in outcomes if not outcome.passed] == []
    assert (len(own), gaps.untested, gaps.never_quiet) == (2, (), ())
