"""Writes results as JUnit XML for build servers. Source: the schema that Jenkins reads (junit-10.xsd)."""

import re
from collections.abc import Iterable, Sequence
from xml.sax.saxutils import escape, quoteattr

from lanner.ruletest.running import CaseResult

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_xml(suites: Iterable[tuple[str, Sequence[CaseResult]]]) -> str:
    """Return the document.

    Args:
        suites: name and results of each test file.
    """
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', "<testsuites>"]
    for file, outcomes in suites:
        failed = sum(not outcome.passed for outcome in outcomes)
        seconds = sum(outcome.seconds for outcome in outcomes)
        lines.append(
            f'  <testsuite name={_quoted(file)} tests="{len(outcomes)}" failures="{failed}" errors="0" skipped="0"'
            f' time="{seconds:.3f}">'
        )
        for outcome in outcomes:
            lines += _case(file, outcome)
        lines.append("  </testsuite>")
    return "\n".join([*lines, "</testsuites>", ""])


def _case(file: str, outcome: CaseResult) -> list[str]:
    line = outcome.case.location.line
    head = (
        f"    <testcase classname={_quoted(file)} name={_quoted(outcome.case.name)} file={_quoted(file)}"
        f' line="{line}" time="{outcome.seconds:.3f}"'
    )
    if outcome.passed:
        return [f"{head}/>"]
    lines = [f"{head}>"]
    for failure in outcome.failures:
        text = "\n".join((failure.message, *failure.trees))
        lines.append(f"      <failure message={_quoted(failure.message)}>{escape(_clean(text))}</failure>")
    return [*lines, "    </testcase>"]


def _quoted(text: str) -> str:
    return quoteattr(_clean(text), {"\n": "&#10;", "\r": "&#13;", "\t": "&#9;"})


def _clean(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
