import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from processor.language.ast import And, Macro
from processor.language.printer import print_condition
from processor.loading import Priority, ProblemCode, RuleFile, load_rules, read_rule_files
from tests.reference import needs, shared_dir
from tests.unit.processor.loading.files import FileCase, each_file_case, load, rule, shown

_LINES = (
    *("- rule: a\n", "- rule: b\n", "- macro: a\n", "- list: a\n", "  append: true\n", "  items: [a, b c]\n"),
    *("  condition: a\n", "  condition: >\n    evt.type=open and\n", "  condition: or proc.name in (a)\n"),
    *("  desc: d\n", "  output: '%proc.name'\n", "  output: %\n", "  priority: INFO\n", "  tags: [x]\n", "---\n"),
    *("  override: {condition: append}\n", "  override:\n    items: replace\n", "  enabled: no\n", "  source: x\n"),
    *(
        "  exceptions:\n",
        "    - name: e\n      fields: proc.name\n",
        "      values: [a, [b]]\n",
        "  a: &x [*x]\n",
        "\t\n",
    ),
)


@each_file_case("problems.yaml")
def test_problems_of_the_fixtures(case: FileCase) -> None:
    """Errors and warnings equal the fixture's, in order."""
    result = load_rules(case.files)

    assert tuple(shown(problem) for problem in (*result.errors, *result.warnings)) == case.problems


@each_file_case("conditions.yaml")
def test_conditions_are_put_together(case: FileCase) -> None:
    """Lists, macros, appended text and exceptions result in the fixture's condition."""
    result = load_rules(case.files)

    assert [shown(problem) for problem in result.errors] == []
    conditions = [f"{rule.name}: {print_condition(rule.condition)}" for rule in result.rules]
    assert conditions == list(case.conditions)


def test_a_rule_has_all_that_its_file_states() -> None:
    """Every key of a rule is in the loaded rule."""
    text = (
        "- rule: Big\n  desc: What it says\n  condition: evt.type in (open, openat) and proc.name = cat\n"
        "  output: File %fd.name\n  priority: eRRoR\n  tags: [b, a]\n  enabled: Off\n  capture: yes\n"
        "  capture_duration: 500\n  warn_evttypes: n\n  skip-if-unknown-filter: 'true'\n"
    )
    (found,) = load(text).rules

    assert (found.name, found.description, found.output) == ("Big", "What it says", "File %fd.name")
    assert found.condition_text == "evt.type in (open, openat) and proc.name = cat"
    assert found.event_types == {"open", "openat"}
    assert (found.priority, str(found.priority), found.tags) == (Priority.ERROR, "Error", ("a", "b"))
    assert (found.enabled, found.capture, found.capture_duration) == (False, True, 500)
    assert (found.warn_evttypes, found.skip_if_unknown_filter) == (False, True)
    assert (found.source, found.file, found.line, found.location.column) == ("syscall", "rules.yaml", 1, 3)


def test_macros_keep_their_names_and_share_their_bodies() -> None:
    """A macro that two rules use is one object in both trees."""
    text = (
        "- macro: m\n  condition: evt.type=open\n"
        + rule("m and proc.name=a")
        + rule("m and proc.name=b").replace("rule: r", "rule: s")
    )
    first, second = load(text).rules

    assert isinstance(first.condition, And)
    assert isinstance(second.condition, And)
    one, other = first.condition.children[0], second.condition.children[0]
    assert isinstance(one, Macro)
    assert isinstance(other, Macro)
    assert one.name == "m"
    assert one.body is other.body


def test_keys_that_only_lanner_supports_are_stored() -> None:
    """`correlation` of a macro and `suppress` of a rule raise no warning and retain their positions."""
    text = "- macro: m\n  condition: evt.type=open\n  correlation: {type: event_count}\n" + rule(
        "m", "  suppress:\n    by: [proc.name]\n"
    )
    result = load(text)

    assert result.warnings == ()
    correlation = result.macros["m"].extensions["correlation"]
    assert correlation.location.line == 3
    assert "suppress" in result.rules[0].extensions


def test_locations_in_a_rule_can_be_looked_up() -> None:
    """A span of the parsed text is located in the file, through lists and folded lines."""
    text = "- list: names\n  items: [a, b, c, d, e]\n" + rule(
        ">\n    evt.type=open and\n    proc.name in (names)\n    and fd.name = /x"
    )
    (found,) = load(text).rules
    start = found.traced.text.index("fd.name")
    location = found.locate((start, start + len("fd.name")))

    assert (location.line, location.column, location.text) == (8, 9, "    and fd.name = /x")
    start = found.traced.text.index("c, d")
    assert found.locate((start, start + 1)).text == "    proc.name in (names)"


def test_files_are_read_in_order_and_tests_are_left_out(tmp_path: Path) -> None:
    """A directory's YAML files are loaded by name, without test files; a missing file is an error."""
    for name in ("b.yaml", "a.yml", "b_test.yaml", "c.txt"):
        (tmp_path / name).write_text("- list: l\n  items: []\n")
    (tmp_path / "sub.yaml").mkdir()
    files = read_rule_files([tmp_path, tmp_path / "none.yaml"])
    result = load_rules(files)

    assert [Path(file.name).name for file in files] == ["a.yml", "b.yaml", "none.yaml"]
    assert [problem.code for problem in result.errors] == [ProblemCode.LOAD_ERR_FILE_READ]
    assert [(location.type, Path(location.earlier.file).name) for location in result.redefinitions] == [
        ("list", "a.yml")
    ]


def test_a_file_that_is_not_utf8_is_an_error_with_its_location() -> None:
    """A stray byte is reported with line and column; a byte order mark is accepted."""
    result = load_rules([RuleFile("a", b"- list: l\n  items: [\xff]\n")])

    assert [shown(problem) for problem in result.errors] == [
        "LOAD_ERR_YAML_PARSE 2:11 the file is not UTF-8: byte 0xff"
    ]
    assert load_rules([RuleFile("a", b"\xef\xbb\xbf" + rule("evt.type=open").encode())]).ok


def test_each_file_has_to_make_sense_with_those_before_it() -> None:
    """A macro that only a later file defines is an error in the earlier file."""
    macro = RuleFile("m.yaml", "- macro: m\n  condition: evt.type=open\n")
    user = RuleFile("r.yaml", rule("m"))

    assert load_rules([macro, user]).ok
    assert [file.ok for file in load_rules([user, macro]).files] == [False, True]


_BOMBS = {
    "depth": "[" * 1_000_000,
    "size": "- a\n" * 2_500_000,
    "nodes": "[" + "a," * 3_000_000 + "]",
    "aliases": "- &a [x,x,x,x,x,x,x,x]\n"
    + "".join(f"- &{b} [{','.join(['*' + a] * 8)}]\n" for a, b in zip("abcdefghij", "bcdefghijk", strict=True)),
    "alias of itself": "- &a [*a]",
    "NUL": "- rule: a\x00b",
    "lone surrogate": "- rule: \ud800",
    "parentheses": rule("(" * 100_000 + "a" + ")" * 100_000),
    "long condition": rule("a" * 7_000_000),
    "quotes": rule('"proc.name in (' + "'" * 500_000 + '"'),
    "lists": "".join(f"- list: l{i}\n  items: [l{i + 1}, l{i + 1}]\n" for i in range(60)) + rule("proc.name in (l0)"),
    "macros": "- macro: m0\n  condition: evt.type=open\n"
    + "".join(f"- macro: m{i + 1}\n  condition: m{i} or m{i}\n" for i in range(60)),
    "macro chain": "- macro: m0\n  condition: evt.type=open\n"
    + "".join(f"- macro: m{i + 1}\n  condition: not m{i}\n" for i in range(2000)),
    "errors": "".join(f"- rule: r{i}\n" for i in range(50_000)),
    "long output": rule("evt.type=open").replace("output: o", f"output: '{'%proc.name[' * 100_000}'"),
}


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in _BOMBS.items()])
def test_hostile_files_give_an_error_within_seconds(text: str) -> None:
    """Depth, size and repetition do not make loading hang, and the number of errors is bounded."""
    started = time.process_time()
    result = load(text)

    assert not result.ok
    assert len(result.errors) <= 102
    assert time.process_time() - started < 10


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(_LINES), max_size=12).map("".join) | st.text() | st.binary())
def test_whatever_is_loaded_gives_a_result(text: str | bytes) -> None:
    """Any text and any bytes return a result whose problems have locations in the file."""
    result = load_rules([RuleFile("a", text), RuleFile("b", text)])
    lines = text.count(b"\n") if isinstance(text, bytes) else text.count("\n")

    assert all(problem.line <= lines + 1 for problem in (*result.errors, *result.warnings))
    assert result.ok is not bool(result.errors)


_UPSTREAM = shared_dir() / "conformance" / "rules_files" / "falcosecurity_rules"


@needs(_UPSTREAM)
def test_upstream_rule_files_load_alone_and_together() -> None:
    """The three files have no errors, loaded separately and together."""
    names = ("falco_rules", "falco-incubating_rules", "falco-sandbox_rules")
    files = read_rule_files(_UPSTREAM / f"{name}.yaml" for name in names)
    alone = [load_rules([file]) for file in files]
    together = load_rules(files)

    assert [result.errors for result in (*alone, together)] == [()] * 4
    assert [len(result.rules) for result in alone] == [25, 31, 37]
    assert len(together.rules) == 93


def test_the_conditions_of_all_rules_are_limited_together() -> None:
    """In a text of 1 KB, macros that use others twice make 65,536 checks for each rule."""
    text = "- macro: m0\n  condition: (evt.type = open and fd.name = /x)\n"
    text += "".join(f"- macro: m{n + 1}\n  condition: (m{n} or m{n})\n" for n in range(15))
    text += "".join(f"- rule: R{n}\n  desc: d\n  condition: m15\n  output: o\n  priority: INFO\n" for n in range(4))
    found = load_rules([RuleFile("rules.yaml", text)])

    assert [rule.name for rule in found.rules] == ["R0", "R1"]
    message = "all conditions have more than 300,000 checks with macros and rules resolved"
    assert [(error.item_name, error.message) for error in found.errors] == [("R2", message), ("R3", message)]
