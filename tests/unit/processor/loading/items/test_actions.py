import pytest

from processor.actions.policies import policies_by_rule
from processor.loading import LoadResult, RuleFile, load_rules
from processor.loading.difference import difference
from processor.loading.falco_compatibility import falco_problems

FREEZE = "- action: stop\n  type: freeze\n  target: container\n  rules: ['Shell *']\n"
KILL = "- action: end\n  type: kill\n  target: process\n"


def rule(name: str, more: str = "", priority: str = "WARNING") -> str:
    """Return a rule."""
    condition = "evt.type = execve and proc.name = sh"
    return f"- rule: {name}\n  desc: d\n  condition: {condition}\n  output: o\n  priority: {priority}\n{more}"


def loaded(*texts: str) -> LoadResult:
    """Load files in order."""
    return load_rules([RuleFile(f"{number}.yaml", text) for number, text in enumerate(texts)])


def requested(result: LoadResult) -> dict[str, tuple[str, ...]]:
    """Return the names of the policies by rule."""
    assert result.errors == ()
    found = policies_by_rule(result.actions, result.rules)
    return {name: tuple(policy.name for policy in policies) for name, policies in found.items()}


def test_rules_request_actions_by_name_pattern_and_tag() -> None:
    """In files of their own, so that the rules stay as they are; `override` gives a rule others."""
    tagged = KILL + "  tags: [t, u]\n  priority: warning\n"
    rules = rule("Shell in pod") + rule("Read", "  tags: [t, u]\n") + rule("Quiet", "  tags: [t, u]\n", "INFO")
    assert requested(loaded(rules, FREEZE + tagged)) == {"Shell in pod": ("stop",), "Read": ("end",)}
    named = "- rule: Quiet\n  actions: [end]\n  override: {actions: replace}\n"
    assert requested(loaded(rules, FREEZE + KILL + named)) == {"Shell in pod": ("stop",), "Quiet": ("end",)}


@pytest.mark.parametrize(
    ("text", "place", "message", "hint"),
    [
        (KILL.replace("kill", "kil"), (2, 9), "'kil' is none of kill, freeze", "did you mean 'kill'?"),
        (KILL.replace("process", "host"), (3, 11), "'host' is none of process, session", ""),
        ("- action: end\n  type: kill\n", (1, 3), "no mapping for key 'target'", "what can be killed is process"),
        (KILL + "  state: doo\n", (4, 10), "'doo' is none of would, ask, do", "did you mean 'do'?"),
        (KILL + "  state: do\n  wait: 5m\n", (5, 9), "'wait' is only for the state ask", "write 'state: ask'"),
        (KILL + "  lease: 5m\n", (4, 10), "does not end by itself", "remove 'lease'"),
        (FREEZE + "  lease: 8d\n", (5, 10), "'8d' is not a duration of up to 7 days", "write it as 90s"),
        (FREEZE + "  never: {host: [a]}\n", (5, 11), "never: unknown key 'host'", "did you mean 'hosts'?"),
        (FREEZE + "  budget: {hosts: 10}\n", (5, 19), "'10' is not a number from 1% to 100%", "write 'hosts: 10%'"),
        (FREEZE + "  budget: {per_hour: 0}\n", (5, 22), "'0' is not a number from 1 to 1000", ""),
        (FREEZE + "  budget: 5\n", (5, 11), "'budget' is not a mapping", "write 'budget: {per_hour: 5}'"),
        (FREEZE + "  priority: hi\n", (5, 13), "Invalid priority", "one of Emergency"),
        (rule("A", "  actions: [stop]\n"), (6, 13), "There is no action 'stop'", "define it"),
    ],
)
def test_a_wrong_action_is_reported_where_it_is_written(
    text: str, place: tuple[int, int], message: str, hint: str
) -> None:
    """With what to write instead; the other items of the file are loaded."""
    (found,) = loaded(rule("Shell") + FREEZE.replace("stop", "other"), text).errors
    assert (found.line, found.column) == place
    assert message in found.message
    assert hint in found.hint


def test_an_action_that_no_rule_requests_is_a_warning() -> None:
    """Its author has made a mistake in a name, or forgotten it."""
    first, second = loaded(rule("Shells") + FREEZE + KILL).warnings
    assert (first.message, second.message) == ("no rule is named 'Shell *'", "no rule requests this action")


def test_a_change_of_an_action_is_a_change_of_the_rules() -> None:
    """People who publish rules confirm it."""
    old = loaded(rule("Shell x") + FREEZE)
    new = loaded(rule("Shell x", "  actions: [end]\n") + FREEZE + "  lease: 1h\n" + KILL)
    assert [change.text for change in difference(old, new)] == [
        "~ rule Shell x: actions changed",
        "~ action stop: what it does changed",
        "+ action end added",
    ]


def test_falco_ignores_it() -> None:
    """Both the item and the key, which a check for Falco reports."""
    found = falco_problems([RuleFile("a.yaml", FREEZE + rule("Shell x", "  actions: [stop]\n"))])
    assert [(each.line, each.item_name) for each in found] == [(1, "stop"), (10, "Shell x")]
