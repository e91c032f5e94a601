"""Formats results as pytest does: one character per case, then each failure in full, then a line of counts."""

import re
from collections.abc import Iterable, Sequence
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from foundation.text import printable
from lanner.ruletest.running import CaseResult, RuleCoverage

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_xml(suites: Iterable[tuple[str, Sequence[CaseResult]]]) -> str:
    """Return the document; suites are names and results of test files."""
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


_RED, _GREEN, _YELLOW, _END = "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[0m"
_WIDTH = 80
Suites = Sequence[tuple[str, Sequence[CaseResult]]]


def progress(file: str, outcomes: Sequence[CaseResult], *, verbose: bool, colour: bool) -> str:
    """Format the results of a file: one character per case, or one line if verbose."""
    if verbose:
        return "".join(
            f"{printable(file)}:{each.case.location.line} {printable(each.case.name)} {_word(each, colour=colour)}\n"
            for each in outcomes
        )
    signs = "".join(_painted("." if each.passed else "F", _tone(each), colour=colour) for each in outcomes)
    return f"{printable(file)} {signs}\n"


def failures(suites: Suites, *, colour: bool) -> str:
    """Format each failed case: its location, the differences, and explanations."""
    lines: list[str] = []
    for file, outcomes in suites:
        for outcome in outcomes:
            if outcome.passed:
                continue
            title = f" {printable(outcome.case.name)} "
            lines += ["", _painted(title.center(_WIDTH, "_"), _RED, colour=colour)]
            for failure in outcome.failures:
                lines += [
                    f"{printable(file)}:{failure.location.line}:{failure.location.column}: {printable(failure.message)}"
                ]
                for tree in failure.trees:
                    lines += [f"    {line}" for line in tree.rstrip("\n").split("\n")]
    return "".join(f"{line}\n" for line in lines)


def gaps(coverage: RuleCoverage, *, colour: bool) -> str:
    """List the rules that lack cases; empty if none does."""
    sections = (
        ("rules without a test", coverage.untested),
        ("rules that no case expects", coverage.never_seen),
        ("rules without a case in which they stay quiet", coverage.never_quiet),
    )
    lines = []
    for words, names in sections:
        if names:
            lines.append(_painted(f"{words} ({len(names)}):", _YELLOW, colour=colour))
            lines += [f"  {printable(name)}" for name in names]
    return "".join(f"{line}\n" for line in lines)


def counts(suites: Suites, *, colour: bool) -> str:
    """Return the line of counts."""
    outcomes = [outcome for _, each in suites for outcome in each]
    failed = sum(not outcome.passed for outcome in outcomes)
    passed = len(outcomes) - failed
    seconds = sum(outcome.seconds for outcome in outcomes)
    parts = [f"{failed} failed"] * bool(failed) + [f"{passed} passed"] * bool(passed or not failed)
    text = f" {', '.join(parts)} in {seconds:.2f} s ".center(_WIDTH, "=")
    return _painted(text, _RED if failed else _GREEN, colour=colour) + "\n"


def as_rows(suites: Suites, coverage: RuleCoverage) -> dict[str, Any]:
    """Return all results as plain values."""
    return {
        "ok": all(outcome.passed for _, outcomes in suites for outcome in outcomes),
        "cases": [_row(file, outcome) for file, outcomes in suites for outcome in outcomes],
        "rules_without_a_test": list(coverage.untested),
        "rules_never_expected": list(coverage.never_seen),
        "rules_never_quiet": list(coverage.never_quiet),
    }


def _row(file: str, outcome: CaseResult) -> dict[str, Any]:
    return {
        "file": file,
        "line": outcome.case.location.line,
        "name": outcome.case.name,
        "passed": outcome.passed,
        "seconds": round(outcome.seconds, 6),
        "failures": [{"message": each.message, "explanations": list(each.trees)} for each in outcome.failures],
    }


def _word(outcome: CaseResult, *, colour: bool) -> str:
    return _painted("PASSED" if outcome.passed else "FAILED", _tone(outcome), colour=colour)


def _tone(outcome: CaseResult) -> str:
    return _GREEN if outcome.passed else _RED


def _painted(text: str, tone: str, *, colour: bool) -> str:
    return f"{tone}{text}{_END}" if colour else text
