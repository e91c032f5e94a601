import pytest

from processor.loading import RuleFile, load_rules

GOOD = '''
from lanner.detections import detect, enrich

@detect(
    rule="Beacon",
    condition="evt.type = connect and "
              "fd.sip = 192.0.2.1",
    output="%proc.name connects to %fd.sip",
    priority="Warning",
    tags=["network"],
    fields=["fd.sip", "evt.rawtime"],
    exceptions=[{"name": "known", "fields": ["proc.name"], "values": [["curl"]]}],
)
def beacon(event):
    """At regular intervals."""
'''
ENRICH = '@enrich(rules=["Beacon"])\ndef e(event):\n    return {}\n'


def problems(code: str, *others: str) -> list[str]:
    """Load a Python file, then others in YAML, and return the errors."""
    files = (RuleFile("a.py", code), *(RuleFile(f"{index}.yaml", text) for index, text in enumerate(others)))
    return [f"{each.line}:{each.column} {each.message} | {each.hint}" for each in load_rules(files).errors]


def test_a_decorated_function_is_a_rule() -> None:
    """It has what rules in YAML have, and what overrides them later overrides it."""
    later = "- rule: Beacon\n  tags: [more]\n  enabled: false\n  override: {tags: append, enabled: replace}\n"
    loaded = load_rules([RuleFile("a.py", GOOD + ENRICH), RuleFile("b.yaml", later)])
    (rule,) = loaded.rules

    assert not loaded.errors
    assert (rule.name, rule.description, rule.tags, rule.enabled) == (
        *("Beacon", "At regular intervals."),
        *(("more", "network"), False),
    )
    assert (rule.file, rule.line, rule.active_exceptions) == ("a.py", 5, ("known",))
    assert rule.python is not None
    assert (rule.python.name, rule.python.fields) == ("beacon", ("fd.sip", "evt.rawtime"))
    assert [each.function.name for each in loaded.enrichments] == ["e"]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("def beacon(event):", "def beacon(event:", "14:11 Python syntax error: '(' was never closed"),
        ("fd.sip = 192", "fd.spi = 192", "7:16 filter_check called with nonexistent field fd.spi"),
        ("connects to %fd.sip", "connects to %fd.spi", "8:36 invalid formatting token fd.spi"),
        ('"Warning"', '"High"', "9:14 Invalid priority"),
        (
            '"fd.sip", "evt',
            '"fd.spi", "evt',
            "11:13 'fd.spi' is not a field of syscall events | did you mean 'fd.sip'?",
        ),
        ("tags=", "tgas=", "10:5 @detect has no argument tgas | did you mean 'tags'?"),
        ('priority="Warning",', "", "4:2 @detect has no priority | add priority='Warning'"),
        ('"""At regular intervals."""', "pass", "4:2 @detect has no desc | add desc='...', or a docstring"),
        ('"Warning"', 'str("Warning")', "9:14 priority is not a literal"),
        ("beacon(event)", "beacon(event, more)", "14:19 beacon() must take the event alone"),
        ("def beacon", "async def beacon", "14:1 @detect is for a function"),
        ("import detect, enrich", "import detect\nimport socket", "3:1 module 'socket' can't be imported"),
        ("enrich\n\n", "enrich\r\r", "2:45 a line ends with a carriage return alone"),
    ],
)
def test_errors_have_a_place_and_a_remedy(old: str, new: str, problem: str) -> None:
    """Columns are characters of the file, also in texts of several parts; nothing of the file is run."""
    assert GOOD.count(old) == 1
    (found,) = problems(GOOD.replace(old, new))

    assert problem in found
    assert found.split(" | ")[1]


def test_functions_decide_about_single_events() -> None:
    """Windows can't know what a function finds, so neither can use the other."""
    windows = """
- macro: often
  condition: evt.type = connect
  correlation: {type: event_count, group-by: [proc.pid], timespan: 1m, condition: {gte: 3}}
- macro: chain
  correlation: {type: event_count, group-by: [proc.pid], timespan: 1m, condition: {gte: 3}, rules: [Beacon]}
- rule: Often
  desc: d
  condition: often
  output: o
  priority: NOTICE
- rule: Chain
  desc: d
  condition: chain
  output: o
  priority: NOTICE
"""
    code = GOOD + '@enrich(rules=["Often", "Bacon"])\ndef e(event): ...\n'
    (first,) = problems(code, windows)
    assert "rule 'Beacon' is decided by a Python function, outside of windows" in first

    found = problems(code, windows.partition("- macro: chain")[0] + "- rule: Often" + windows.split("- rule: ")[1][5:])
    assert found == [
        "16:16 rule 'Often' counts in windows; functions enrich alerts about single events | name other rules",
        "16:25 @enrich names no rule: 'Bacon' | did you mean 'Beacon'?",
    ]
    suppressed = "- rule: Beacon\n  suppress: {by: [fd.sip], for: 1m}\n  override: {suppress: replace}\n"
    (error,) = problems(GOOD, suppressed)
    assert "can't use stateful macros, nor 'suppress'" in error
