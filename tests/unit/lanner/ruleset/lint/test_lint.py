import time

import pytest

from lanner.ruleset.lint.lint import linted
from processor.loading import RuleFile, load_rules
from tests.unit.processor.loading.files import rule

MANY = 2000
ALTERNATIVES = " or ".join(f"proc.name = a{number}" for number in range(MANY))
HUGE = {
    "alternatives": rule(f"evt.type = open and ({ALTERNATIVES}) and ({ALTERNATIVES.replace('name', 'pname')})"),
    "parts": rule("evt.type = open and " + " and ".join(f"not fd.name = /{number}" for number in range(MANY))),
    "rules": "".join(
        rule(f"evt.type = open and fd.name = /{number} and proc.name in (a, b)").replace("rule: r", f"rule: r{number}")
        for number in range(MANY)
    ),
    "exceptions": rule("evt.type = open and proc.name = a")
    + f"  exceptions: [{{name: e, fields: [proc.name], values: [{', '.join(f'[b{n}]' for n in range(MANY))}]}}]\n",
    "lists": "".join(f"- list: a_list_{number}\n  items: [a_lisd_{number}]\n" for number in range(MANY))
    + rule(f"evt.type = open and proc.name in ({', '.join(f'a_list_{number}' for number in range(MANY))})"),
}


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in HUGE.items()])
def test_huge_files_are_linted_within_seconds(text: str) -> None:
    """Rules come from elsewhere; no size of theirs may delay a start or a reload."""
    files = [RuleFile("r.yaml", text)]
    result = load_rules(files)
    started = time.process_time()
    found = linted(result, files)

    assert time.process_time() - started < 10
    assert len(found.warnings) <= 1000 + len(result.warnings)
