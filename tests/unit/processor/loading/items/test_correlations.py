"""Tests of problems in correlations and suppressions."""

from typing import Any

import pytest

from foundation.yaml.nodes import ScalarNode
from processor.loading import LoadResult, ProblemCode, RuleFile, load_rules
from processor.rule import Alias, Correlation, Suppress, correlations_of

SECOND = 1_000_000_000
BASE = """- macro: a
  condition: evt.type=open
- macro: b
  condition: evt.type=connect
- macro: c
  condition: evt.type=connect
  correlation: {type: event_count, group-by: [fd.sip], timespan: 1m, condition: {gte: 3}}
- macro: d
  condition: evt.type=connect
- macro: m
"""
COUNTS = (
    "  condition: evt.type=open\n  correlation: {type: event_count, group-by: [proc.name], timespan: 30s, condition: "
)
RULE = "\n- rule: R\n  desc: d\n  condition: %s\n  output: %s\n  priority: NOTICE\n"


def load(text: str) -> LoadResult:
    """Load a text that follows some macros."""
    return load_rules([RuleFile("rules.yaml", BASE + text)])


def correlation(**parts: str) -> str:
    """Return the correlation of macro m with some keys replaced; empty ones are omitted."""
    known = {"type": "event_count", "group-by": "[proc.name]", "timespan": "30s", "condition": "{gte: 3}"} | {
        name.replace("_", "-"): value for name, value in parts.items()
    }
    has_condition = "" if known["type"].startswith("temporal") else "  condition: evt.type=open\n"
    return f"{has_condition}  correlation:\n" + "".join(
        f"    {key}: {value}\n" for key, value in known.items() if value
    )


NEW = {"type": "first_seen", "timespan": "", "condition": "", "field": "fd.sip", "lookback": "7d"}
RARE = NEW | {"type": "prevalence", "field": "", "condition": "{lt: 3}"}
ORDERED = {"type": "temporal_ordered", "condition": "", "macros": "[a, b]"}
TEMPORAL = {"type": "temporal", "condition": "", "macros": "[a, b]"}


@pytest.mark.parametrize(
    ("text", "message", "hint", "marked"),
    [
        (correlation(timspan="1m"), "Unknown key 'timspan' in 'correlation'", "did you mean 'timespan'?", "timspan"),
        (correlation(type="event_cuont"), "Unknown type 'event_cuont'", "did you mean 'event_count'?", "event_cuont"),
        (correlation(type=""), "'type' is missing", "add 'type: ...': one of event_count", ""),
        (correlation(timespan="90"), "'timespan: 90' is not a valid duration", "as in 30s, 1m, 5m, 2h, 1d", "90"),
        (correlation(timespan="0s"), "'timespan: 0s' is not between 1s and 31d", "write a number and a unit", "0s"),
        (correlation(timespan="99d"), "'timespan: 99d' is not between 1s and 31d", "write a number and a unit", "99d"),
        (correlation(timespan="[1m]"), "'timespan' is not a single value", "a duration such as", "[1m]"),
        (correlation(group_by="[proc.nmae]"), "unknown field 'proc.nmae'", "did you mean 'proc.name'?", "proc.nmae"),
        (correlation(group_by="[evt.rawarg]"), "field 'evt.rawarg' needs an argument", "", "evt.rawarg"),
        (correlation(group_by="['proc.name[3]']"), "field 'proc.name' takes no argument", "", "'proc.name[3]'"),
        (
            correlation(group_by="[fd.ip]"),
            "field 'fd.ip' can only be used in conditions",
            "outputs can include",
            "fd.ip",
        ),
        (correlation(group_by="{a: b}"), "'group-by' is not a list", "a list of fields", "group-by"),
        (correlation(group_by="[a, a]"), "'a' occurs twice in 'group-by'", "remove one", "a"),
        (correlation(condition="{}"), "'condition' requires either gt or gte", "{gte: 20}", "{}"),
        (correlation(condition="{gt: 1, gte: 2}"), "'condition' requires either gt or gte", "{gte: 20}", ""),
        (correlation(condition="{gte: 0}"), "'gte: 0' is not a valid threshold", "an integer", "0"),
        (correlation(condition="{gte: many}"), "'gte: many' is not a valid threshold", "an integer", "many"),
        (correlation(condition="{gt: 10000}"), "'gt: 10000' is not a valid threshold", "up to 10,000", "10000"),
        (
            correlation(condition="{lt: 3}"),
            "Unknown key 'lt' in 'condition'",
            "the keys of 'condition' are gt, gte",
            "lt",
        ),
        (correlation(condition=""), "'condition' of the correlation is missing", "add a threshold", ""),
        (correlation(condition="{field: fd.name, gte: 3}"), "Unknown key 'field' in 'condition'", "", "field"),
        (correlation(type="value_count"), "'field' is missing", "whose values are counted", "{gte: 3}"),
        (correlation(type="value_count", condition="{field: fd.nam, gte: 3}"), "unknown field 'fd.nam'", "fd.name", ""),
        (correlation(**NEW | {"lookback": ""}), "'lookback' is missing", "a duration such as", ""),
        (
            correlation(**NEW | {"lookback": "91d"}),
            "'lookback: 91d' is not between 1s and 90d",
            "a number and a unit",
            "91d",
        ),
        (correlation(**NEW | {"learning": "8d"}), "'learning' is longer than 'lookback'", "learns no more", "8d"),
        (correlation(**NEW | {"field": ""}), "'field' is missing", "add 'field: ...'", ""),
        (correlation(**NEW | {"field": "[]"}), "'field' is empty", "a list of up to 3", "field"),
        (
            correlation(**NEW | {"field": "[fd.sip, fd.name, evt.type, fd.cip]"}),
            "more than 3 fields",
            "remove",
            "field",
        ),
        (correlation(**NEW | {"field": "fd.nam"}), "unknown field 'fd.nam'", "fd.name", "fd.nam"),
        (correlation(**NEW | {"field": "proc.name"}), "'proc.name' is in 'field' and in 'group-by'", "same value", ""),
        (correlation(**NEW | {"timespan": "7d"}), "'timespan' does not apply to type first_seen", "event_count", ""),
        (correlation(**RARE | {"condition": "{gte: 3}"}), "Unknown key 'gte' in 'condition'", "are lt, lte", "gte"),
        (correlation(**RARE | {"condition": "{lt: 1}"}), "'lt: 1' is not a valid threshold", "up to 100", "1"),
        (correlation(**RARE | {"condition": "{lte: 100}"}), "'lte: 100' is not a valid threshold", "up to 100", "100"),
        (correlation(**RARE | {"group_by": ""}), "'group-by' is missing", "proc.exe.sha256", ""),
        (correlation(**RARE | {"group_by": "[evt.hostname]"}), "'evt.hostname' is in 'group-by'", "remove it", ""),
        (correlation(**RARE | {"field": "fd.sip"}), "'field' does not apply to type prevalence", "first_seen", "field"),
        (correlation(lookback="7d"), "'lookback' does not apply to type event_count", "first_seen", "lookback"),
        (correlation(macros="[a, b]"), "'macros' does not apply to type event_count", "temporal", "macros"),
        (correlation(**TEMPORAL, aliases="{x: {a: fd.cip, b: fd.sip}}"), "alias 'x' is not in group-by", "", "aliases"),
        (correlation(**TEMPORAL | {"macros": "[a]"}), "'macros' lists 1", "at least two macros", "[a]"),
        (correlation(**TEMPORAL, until="c"), "'until' does not apply to type temporal", "temporal_ordered", "until"),
        (correlation(**ORDERED, until="a"), "'a' is in 'until' and in 'macros'", "another macro", "a"),
        (correlation(**ORDERED, until="zz"), "Undefined macro 'zz' used in filter.", "", "zz"),
        (correlation(**ORDERED, until="c"), "'c' counts by fd.sip and 'm' by proc.name", "the same group-by", ""),
        (
            correlation(**ORDERED, until="d", group_by="[x]", aliases="{x: {a: fd.cip, b: fd.sip}}"),
            "alias 'x' has no field for 'd'",
            "add 'd: FIELD'",
            "x",
        ),
        (correlation(**TEMPORAL | {"macros": "[a, b, zz]"}), "Undefined macro 'zz' used in filter.", "", "zz"),
        (correlation(**TEMPORAL | {"condition": "{gte: 3}"}), "'condition' does not apply to type temporal", "", ""),
        (
            correlation(**TEMPORAL, group_by="[x]", aliases="{x: {a: fd.cip}}"),
            "alias 'x' has no field for 'b'",
            "add 'b: FIELD'",
            "x",
        ),
        (
            correlation(**TEMPORAL, group_by="[x]", aliases="{x: {a: fd.cip, d: fd.sip}}"),
            "alias 'x' refers to 'd', which is not in 'macros'",
            "'macros' lists a, b",
            "d",
        ),
        (
            correlation(**TEMPORAL, group_by="[fd.cip]", aliases="{fd.cip: {a: fd.cip, b: fd.sip}}"),
            "alias 'fd.cip' has the name of a field",
            "use another name",
            "fd.cip",
        ),
        (
            "  condition: evt.type=open\n  correlation: {type: temporal, macros: [a, b], timespan: 1m}\n",
            "a macro of type temporal consists of its legs and has no condition of its own",
            "remove 'condition'",
            "temporal",
        ),
        (
            correlation(**TEMPORAL | {"macros": "[a, c]"}),
            "'c' counts by fd.sip and 'm' by proc.name",
            "must have the same group-by",
            "[proc.name]",
        ),
        (
            COUNTS.replace("evt.type=open", "c and a") + "{gte: 3}}",
            "'c' counts by fd.sip and 'm' by proc.name",
            "must have the same group-by",
            "[proc.name]",
        ),
        (
            COUNTS + "{gte: 3}}" + RULE % ("m and c", "x"),
            "its stateful macros count by different groups: 'm' by proc.name and 'c' by fd.sip",
            "must have the same group-by",
            "rule: R",
        ),
        (
            COUNTS + "{gte: 3}}" + RULE % ("m", "x") + "  suppress: {by: [fd.name], for: 1m}",
            "suppress.by lacks proc.name, which is in the group-by of the stateful macros",
            "add proc.name to suppress.by",
            "[fd.name]",
        ),
        (
            COUNTS + "{gte: 3}}" + RULE % ("m", "x") + "  suppress: {by: [proc.name], 'for': 1}",
            "'for: 1' is not a valid duration",
            "as in 30s",
            "1",
        ),
        (
            COUNTS + "{gte: 3}}" + RULE % ("m", "x") + "  suppress: 1m",
            "'suppress' is not a mapping",
            "its keys are by, for",
            "1m",
        ),
        (
            COUNTS + "{gte: 3}}" + RULE % ("a", "x %correlation.count"),
            "%correlation.count requires a stateful macro in the condition",
            "use a macro that has a 'correlation'",
            "%correlation.count",
        ),
        (
            COUNTS + "{gte: 3}}" + RULE % ("m", "x %correlation.leg[a].fd.name"),
            "%correlation.leg[a].fd.name: there is no leg 'a'",
            "it has no legs",
            "%correlation.leg[a].fd.name",
        ),
        (
            COUNTS + "{gte: 3}}" + RULE % ("m", "x %correlation.count[n] y"),
            "%correlation.count[n]: there is no stateful macro 'n'",
            "the stateful macros of the condition are m",
            "%correlation.count[n]",
        ),
        (
            COUNTS + "{gte: 3}}" + RULE % ("m", "on %proc.exe.hosts."),
            "%proc.exe.hosts requires a macro that counts hosts by digest",
            "type: prevalence, group-by: [proc.exe.sha256]",
            "%proc.exe.hosts",
        ),
        (
            COUNTS + "{gte: 3}}" + RULE % ("proc.exe.hosts < 3", "x"),
            "'proc.exe.hosts' can only be used in outputs",
            "",
            "",
        ),
        (
            COUNTS + "{gte: 3}}" + RULE % ("m", "x %correlation.cuont y"),
            "invalid formatting token correlation.cuont",
            "%correlation is followed by .count",
            "%correlation.cuont",
        ),
    ],
)
def test_problems_are_reported_with_their_locations(text: str, message: str, hint: str, marked: str) -> None:
    """The message, the hint and the marked text are as expected."""
    found = [problem for problem in load(text).errors if message in problem.message]

    assert found, [problem.message for problem in load(text).errors]
    location = found[0].location
    assert hint in found[0].hint
    assert (location.file, found[0].code.severity) == ("rules.yaml", "error")
    assert location.text[location.column - 1 : location.column - 1 + location.width].startswith(marked)


def test_a_value_of_one_of_several_windows_is_warned_of_where_it_is() -> None:
    """Without a name, it is that of the first; with an alternative, one window is enough, so nothing is ambiguous."""
    n = "\n- macro: n\n" + correlation(type="event_count")
    both = [*load(COUNTS + "{gte: 3}}" + n + RULE % ("n and m", "x %correlation.count %correlation.group")).warnings]
    [found] = [each for each in both if each.code.name == "LOAD_WARNING_EXTENSION"]
    assert found.message == "%correlation.count is that of 'n', one of 2 stateful macros"
    assert found.hint == "write %correlation.count[n] or %correlation.count[m]"
    marked = found.location.text[found.location.column - 1 :]
    assert marked.startswith("%correlation.count ")
    for condition, output in (("n and m", "%correlation.count[n]"), ("n or m", "%correlation.count")):
        loaded = load(COUNTS + "{gte: 3}}" + n + RULE % (condition, f"x {output}"))
        assert not loaded.errors
        assert "LOAD_WARNING_EXTENSION" not in [each.code.name for each in loaded.warnings]


def test_all_problems_are_reported_at_once() -> None:
    """One run reports all mistakes."""
    errors = load(correlation(type="event_cuont", timespan="x", group_by="[fd.nmae]", tymespan="1m")).errors

    assert {problem.code for problem in errors} == {ProblemCode.LOAD_ERR_EXTENSION}
    assert len(errors) == 4


def test_first_seen_is_read_into_plain_values() -> None:
    """Fields as one or as a list; learning is a day, or the lookback if that is shorter."""
    days = correlations_of(load(correlation(**NEW)).macros)["m"]
    hours = correlations_of(load(correlation(**NEW | {"field": "[fd.sip, fd.sport]", "lookback": "2h"})).macros)["m"]

    assert days == Correlation(
        "first_seen", ("proc.name",), 7 * 86_400 * SECOND, fields=("fd.sip",), learning=86_400 * SECOND
    )
    assert (hours.fields, hours.learning) == (("fd.sip", "fd.sport"), 7200 * SECOND)


def test_prevalence_is_read_into_plain_values() -> None:
    """`lte: 3` is fewer than four."""
    found = correlations_of(load(correlation(**RARE | {"condition": "{lte: 3}"})).macros)["m"]

    assert found == Correlation("prevalence", ("proc.name",), 7 * 86_400 * SECOND, 4, learning=86_400 * SECOND)
    assert found.value_fields == ("host",)


def test_a_correlation_is_read_into_plain_values() -> None:
    """`gt: 3` is at least four, and durations are nanoseconds."""
    result = load(correlation(type="value_count", condition="{field: evt.hostname, gt: 3}", timespan="2h"))

    assert correlations_of(result.macros)["m"] == Correlation(
        "value_count", ("proc.name",), 7200 * SECOND, threshold=4, fields=("evt.hostname",)
    )


def test_a_macro_of_legs_needs_no_condition() -> None:
    """In Falco, it would be true for any of its legs."""
    result = load(correlation(**TEMPORAL, group_by="[x, user.name]", aliases="{x: {a: fd.cip, b: fd.sip}}"))

    assert result.errors == ()
    assert result.macros["m"].condition_text == "a or b"
    read = correlations_of(result.macros)["m"]
    assert (read.legs, read.aliases) == (("a", "b"), (Alias("x", (("a", "fd.cip"), ("b", "fd.sip"))),))
    assert read.group_fields("b") == ("fd.sip", "user.name")


def test_suppress_accepts_the_name_of_a_group() -> None:
    """suppress.by accepts an alias like a field."""
    text = correlation(**TEMPORAL, group_by="[x]", aliases="{x: {a: fd.cip, b: fd.sip}}")
    result = load(text + RULE % ("m", "x") + "  suppress: {by: [x, proc.name], for: 5m}\n")

    assert result.errors == ()
    assert result.rules[0].suppress == Suppress(("x", "proc.name"), 300 * SECOND)


def test_a_macro_with_an_error_makes_no_second_one_of_a_rule() -> None:
    """The rule's output is not reported if only the macro is wrong."""
    result = load(correlation(timespan="x") + RULE % ("m", "x %correlation.count"))

    assert [problem.item_name for problem in result.errors] == ["m"]


def test_a_condition_may_not_combine_windows_without_end() -> None:
    """Every additional term costs time for each event."""
    counts = "{type: event_count, group-by: [fd.sip], timespan: 1m, condition: {gte: 3}}"
    macros = [f"- macro: w{number}\n  condition: evt.type=connect\n  correlation: {counts}\n" for number in range(16)]
    pairs = " and ".join(f"(w{number} or w{number + 1})" for number in range(0, 16, 2))
    result = load(COUNTS + "{gte: 3}}\n" + "".join(macros) + RULE % (pairs, "x"))

    assert [problem.message for problem in result.errors] == [
        "the condition combines stateful macros in more than 64 ways"
    ]


COUNTED = "correlation: {type: event_count, group-by: [proc.name], timespan: 30s, condition: {gte: %s}}\n"
STATEFUL = (
    "  condition: evt.type=open\n  " + COUNTED % 3 + RULE % ("m", "o") + "  suppress: {by: [proc.name], for: 1m}\n"
)


def changed(text: str) -> LoadResult:
    """Load a stateful macro and a rule, and a second file that changes them."""
    return load_rules([RuleFile("rules.yaml", BASE + STATEFUL), RuleFile("own.yaml", text)])


def test_a_later_file_replaces_what_is_remembered() -> None:
    """The rest of the macro and the rule is unchanged; a mistake is reported in the later file."""
    loaded = changed(
        "- macro: m\n  " + COUNTED % 9 + "  override: {correlation: replace}\n"
        "- rule: R\n  suppress: {by: [proc.name], for: 2m}\n  override: {suppress: replace}\n"
    )
    assert loaded.ok
    assert correlations_of(loaded.macros)["m"].threshold == 9
    assert loaded.macros["m"].condition_text == "evt.type=open"
    assert loaded.rules[0].suppress == Suppress(("proc.name",), 120 * SECOND)

    wrong = changed("- rule: R\n  suppress: {by: [proc.name], for: soon}\n  override: {suppress: replace}\n")
    ((location, column),) = [(each.file, each.column) for each in wrong.errors]
    assert (location, column) == ("own.yaml", 36)


@pytest.mark.parametrize(
    "text",
    [
        "- macro: m\n  condition: and fd.num > 3\n  override: {condition: append}\n",
        "- macro: m\n  condition: evt.type=connect\n  override: {condition: replace}\n",
        "- macro: m\n  condition: and fd.num > 3\n  append: true\n",
    ],
)
def test_a_macro_whose_condition_is_changed_stays_stateful(text: str) -> None:
    """Otherwise it would silently become stateless."""
    loaded = changed(text)
    assert loaded.ok
    assert correlations_of(loaded.macros)["m"].threshold == 3
    assert loaded.macros["m"].condition_text != "evt.type=open"


def test_condition_and_correlation_change_together() -> None:
    """The condition is appended to, the correlation replaced."""
    loaded = changed(
        "- macro: m\n  condition: and fd.num > 3\n  "
        + COUNTED % 9
        + "  override: {condition: append, correlation: replace}\n"
    )
    assert loaded.ok
    assert correlations_of(loaded.macros)["m"].threshold == 9
    assert loaded.macros["m"].condition_text == "evt.type=open and fd.num > 3"


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        (
            "- macro: m\n  condition: and fd.num > 3\n  " + COUNTED % 9 + "  override: {condition: append}\n",
            "Unexpected key 'correlation': no corresponding entry under 'override' is defined.",
            3,
        ),
        (
            "- macro: m\n  condition: evt.type=x\n  " + COUNTED % 9 + "  override: {correlation: replace}\n",
            "Unexpected key 'condition': no corresponding entry under 'override' is defined.",
            2,
        ),
        (
            "- macro: m\n  override: {correlation: replace}\n",
            "An replace override for 'correlation' was specified but 'correlation' is not defined",
            2,
        ),
        (
            "- macro: m\n  " + COUNTED % 9 + "  override: {correlation: append}\n",
            "Key 'correlation' cannot be appended to, use 'replace' instead",
            3,
        ),
        (
            "- macro: m\n  condition: and fd.num > 3\n  " + COUNTED % 9 + "  append: true\n",
            "Key 'correlation' cannot be appended to, use 'replace' instead",
            3,
        ),
        (
            "- macro: nobody\n  " + COUNTED % 9 + "  override: {correlation: replace}\n",
            "Macro uses 'override.correlation: replace' but no macro by that name already exists",
            1,
        ),
        (
            "- rule: R\n  suppress: {by: [proc.name], for: 2m}\n  override: {suppress: append}\n",
            "Key 'suppress' cannot be appended to, use 'replace' instead",
            3,
        ),
        (
            "- rule: R\n  suppress: {by: [proc.name], for: 2m}\n  priority: ERROR\n  override: {priority: replace}\n",
            "Unexpected key 'suppress': no corresponding entry under 'override' is defined.",
            2,
        ),
        (
            "- rule: R\n  suppress: {by: [proc.name], for: 2m}\n  condition: and fd.num > 3\n  append: true\n",
            "Key 'suppress' cannot be appended to, use 'replace' instead",
            2,
        ),
    ],
)
def test_a_change_that_would_be_ignored_is_an_error(text: str, message: str, line: int) -> None:
    """The problem is located in the later file."""
    loaded = changed(text)
    assert [(each.file, each.line) for each in loaded.errors if each.message == message] == [("own.yaml", line)]


def test_a_long_list_of_rules_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name is not compared with all names before it."""
    value: Any = ScalarNode.__dict__["value"]
    reads = 0

    def read(node: ScalarNode) -> str:
        nonlocal reads
        reads += 1
        found: str = value.__get__(node)
        return found

    names = ", ".join(f"r{number}" for number in range(1000))
    monkeypatch.setattr(ScalarNode, "value", property(read, value.__set__))
    found = load(correlation(type="temporal", condition="", rules=f"[{names}, r7]") + RULE % ("m", "o"))

    assert [error.message for error in found.errors if "twice" in error.message] == ["'r7' occurs twice in 'rules'"]
    assert reads < 50_000
