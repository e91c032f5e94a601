from processor.loading import Priority, Rule
from processor.loading.rules import Switch, select, unmatched
from tests.unit.processor.loading.files import load

_TEXT = "".join(
    f"- rule: {name}\n  desc: d\n  condition: evt.type=open\n  output: o\n  priority: {priority}\n  tags: {tags}\n"
    for name, priority, tags in (
        ("Shell in pod", "ERROR", "[a]"),
        ("Shell", "INFO", "[a, b]"),
        ("Write", "DEBUG", "[]"),
    )
)


def _rules() -> tuple[Rule, ...]:
    return load(_TEXT).rules


def _names(*switches: Switch, floor: Priority = Priority.DEBUG) -> list[str]:
    return [rule.name for rule in select(_rules(), switches, floor)]


def test_a_pattern_is_about_whole_names() -> None:
    """A star matches any text, and a name without a star matches only itself."""
    assert _names(Switch(False, "rule", "Shell")) == ["Shell in pod", "Write"]
    assert _names(Switch(False, "rule", "Shell*")) == ["Write"]
    assert _names(Switch(False, "rule", "*e*")) == []
    assert _names(Switch(False, "rule", "?hell")) == ["Shell in pod", "Shell", "Write"]


def test_the_last_switch_that_is_about_a_rule_counts() -> None:
    """Switches apply in order, by name and by tag."""
    everything_off = Switch(False, "rule", "*")

    assert _names(everything_off, Switch(True, "tag", "b")) == ["Shell"]
    assert _names(Switch(True, "tag", "b"), everything_off) == []


def test_a_floor_leaves_out_less_severe_rules() -> None:
    """Rules at the floor are selected."""
    assert _names(floor=Priority.INFORMATIONAL) == ["Shell in pod", "Shell"]
    assert _names(floor=Priority.EMERGENCY) == []


def test_switches_that_match_nothing_are_reported() -> None:
    """A tag or a name that no rule has is reported."""
    switch = Switch(True, "tag", "nosuch")

    assert unmatched(_rules(), [switch, Switch(True, "rule", "Sh*")]) == (switch,)


def test_stars_in_a_row_cost_nothing() -> None:
    """A pattern of many stars matches without exponential time."""
    assert _names(Switch(False, "rule", "*" * 200 + "x" + "*" * 200)) == ["Shell in pod", "Shell", "Write"]
