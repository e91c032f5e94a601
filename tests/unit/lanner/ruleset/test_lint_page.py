"""Each code has a section on the page of codes, whose examples do what the section describes."""

import re
from pathlib import Path

import pytest

from lanner.ruleset.lint.codes import LintCode
from lanner.ruleset.load import validate_files
from processor.loading import ProblemCode, RuleFile
from processor.loading.report import documented_at

ROOT = Path(__file__).parents[4]
PAGE = (ROOT / "docs" / "rules-lints.md").read_text()
SECTIONS = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", PAGE, re.DOTALL | re.MULTILINE))


def codes_of(example: str) -> set[str]:
    """Return the codes that an example gets, without those about items that nothing uses."""
    names = re.split(r"^# file: (.*)\n", example, flags=re.MULTILINE)
    pairs = list(zip(names[1::2], names[2::2], strict=True)) or [("example.yaml", example)]
    result = validate_files((), [RuleFile(name, text) for name, text in pairs])
    found = {problem.code.name for problem in (*result.errors, *result.warnings, *result.infos)}
    return found - {"LOAD_UNUSED_MACRO", "LOAD_UNUSED_LIST", "LOAD_NO_EVTTYPE"}


@pytest.mark.parametrize("code", LintCode, ids=lambda code: code.name)
def test_the_first_example_has_the_problem_and_the_second_does_not(code: LintCode) -> None:
    """Each section begins with the severity and has a wrong and a right example."""
    section = SECTIONS[code.name]
    wrong, right = re.findall(r"^```yaml\n(.*?)^```", section, re.DOTALL | re.MULTILINE)

    assert section.strip().startswith(f"{code.severity.capitalize()}. ")
    assert code.name in codes_of(wrong)
    assert codes_of(right) == set()


def test_every_code_has_its_section() -> None:
    """Problems link to them."""
    for code in (*LintCode, *ProblemCode):
        page, _, anchor = documented_at(code).partition("#")
        assert (ROOT / page).is_file()
        assert anchor == code.name.lower()
    assert SECTIONS.keys() == {code.name for code in (*LintCode, *ProblemCode)}
    for code in ProblemCode:
        assert SECTIONS[code.name].strip() == ". ".join(code.value)
