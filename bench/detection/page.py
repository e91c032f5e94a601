"""Writes docs/detection.md; every figure on it comes from the stored results."""

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from pathlib import Path

from bench.detection.results import DETECTED, GRADES, SETS, ProvenTest, Results
from lanner.prove.grades import Status
from schemas.catalog.attack import techniques

PAGE = Path(__file__).parents[2] / "docs/detection.md"
_TECHNIQUE: tuple[Status, ...] = ("technique",)
_WARNINGS = ("Emergency", "Alert", "Critical", "Error", "Warning")
_HEAD = """# Detection

What do Lanner's rules detect of public attack steps, and what do they miss? `make prove` runs the steps, evaluates four
sets of rules on the same recorded run, and writes this page:

    sudo make prove

It calls [`lanner prove`](proving.md) with the Linux tests of Atomic Red Team that run offline on a Debian and whose
GUID begins with an even digit, {number} in all. Each runs in a throw-away guest. The other half is left for those who
check the rules: no rule was written with it at hand.

{date}, Linux {kernel}, a virtual machine with 2 cores that did other work at the same time. {lost} events were lost.

| set | rules |
|---|---|
| Lanner | what `lanner run` loads, without those that are off |
| Lanner, all rules | with those |
| Falco, stable | `falco_rules.yaml`, as it is |
| Falco, all files | and `falco-incubating_rules.yaml` and `falco-sandbox_rules.yaml`, with the rules that are off |

Lanner's engine evaluates all of them. Only alerts at Notice or above count, of rules that don't report a command that
does nothing, too. An alert is *of the technique* if its rule has the tag of the test's technique, or of its parent or
sub-technique. Guests are hosts, not containers: Falco's rules about containers have nothing to report here, and that is
no fault of theirs.

## Result

Each test has a grade, which one reader gave it before any run: *alert* is what a default set of rules owes an alert;
*common* is also ordinary administration; *discovery* and *builtin* owe none, one by one. Cells: tests with an alert (of
those, with one of the technique).
"""
_COST = """## Cost

Events are those of the guests that the kernel would send for the rules; CPU is the time of their evaluation, without
that of the kernel and of decoding. The same engine evaluates all sets, so this is what the rules cost.
"""
_TECHNIQUES = """## Techniques

Only tests of grade *alert* are counted in the columns of the sets.
"""
_MISSED = """## Not detected

Tests of grade *alert* that ran, without an alert at Notice or above by default.
"""
_ANOTHER = """## Alert of another technique

The rule that alerts names a technique that isn't the test's.
"""
_PRECISION = """
## Precision

Process, parent and file of each alert of the default rules are compared with the words of the test's commands and
scripts. Names that don't occur there are listed. Most are helpers and files that a program uses by itself,
such as `useradd` and `/etc/passwd`.
"""
_UNSEEN = """## What can't be seen

Tests without an event for any of Lanner's rules. To the kernel, what they do is ordinary work, or all of it happens
inside of a shell that runs already:
"""
_NOT_RUN = """Nor was anything seen of tests that did not run. A guest has its host's kernel, and what would change this
machine is left out:
"""
_INSIDE = """No rule on events of the kernel sees what a program does with what it has read already: a keylogger inside
of a shell, a variable that is set, memory that is encrypted. [The page about
security](security.md#evasions-that-stay-open) lists evasions that stay open.
"""
_NOT_OWED = """## Alerts where none is owed

Tests of grade *common*, *discovery* or *builtin* with an alert at Notice or above by default.
"""


def page(results: Results, reasons: dict[str, str]) -> str:
    """Return the page."""
    tests = results.tests
    parts = [
        _HEAD.format(
            number=len(tests),
            date=results.date,
            kernel=results.kernel,
            lost=f"{results.lost:,}" if results.lost else "No",
        ),
        _table(("grade", "tests", "run", *SETS), (_grade(results, grade) for grade in GRADES)),
        _COST,
        _table(
            ("set", "rules", "events", "CPU", "alerts", "rules that report a command that does nothing"),
            (
                (
                    name,
                    f"{each.rules}",
                    f"{each.events:,}",
                    f"{each.seconds:.2f} s",
                    f"{each.alerts:,}",
                    f"{each.nothing}",
                )
                for name, each in zip(SETS, results.costs, strict=True)
            ),
        ),
        _TECHNIQUES,
        _table(("technique", "tests", "run", "ought to alert", *SETS), _techniques(tests)),
        _MISSED,
        _table(
            ("technique", "test", "reason", "detected by"),
            (
                (test.technique, _plain(test.name), reasons.get(test.guid, ""), _others(test))
                for test in results.undetected
            ),
        ),
        _ANOTHER,
        _table(
            ("technique", "test", "rules"),
            (
                (test.technique, _plain(test.name), ", ".join(test.rules))
                for test in tests
                if test.grade == "alert" and test.statuses[0] == "alert"
            ),
        ),
        _UNSEEN,
        _list(test for test in tests if test.statuses[1] == "no telemetry"),
        _NOT_RUN,
        _list((test for test in tests if not test.ran), lambda test: f": {_plain(test.reason)}"),
        _INSIDE,
        _NOT_OWED,
        _table(
            ("grade", "technique", "test", "rules"),
            (
                (test.grade, test.technique, _plain(test.name), ", ".join(test.rules))
                for test in tests
                if test.grade != "alert" and test.is_detected()
            ),
        ),
        f"{_warnings(tests)} of grade *discovery* or *builtin* has one at Warning or above.\n",
        _PRECISION,
        _table(
            ("technique", "test", "what the alert names"),
            (
                (test.technique, _plain(test.name), _plain(", ".join(test.unexplained)))
                for test in tests
                if test.unexplained
            ),
        ),
    ]
    return "\n".join(parts)


def _grade(results: Results, grade: str) -> Sequence[str]:
    tests = [test for test in results.tests if test.grade == grade]
    return (grade, f"{len(tests)}", f"{sum(test.ran for test in tests)}", *_cells(tests))


def _cells(tests: Sequence[ProvenTest]) -> list[str]:
    def number(of: int, statuses: tuple[Status, ...]) -> int:
        return sum(test.statuses[of] in statuses for test in tests)

    return [f"{number(of, DETECTED)} ({number(of, _TECHNIQUE)})" if tests else "" for of in range(len(SETS))]


def _techniques(tests: Sequence[ProvenTest]) -> Iterable[Sequence[str]]:
    for technique, each in groupby(sorted(tests, key=lambda test: test.technique), lambda test: test.technique):
        of_technique = list(each)
        ought = [test for test in of_technique if test.grade == "alert"]
        name = next(iter(techniques([technique])), None)
        yield (
            technique if name is None or not name.link else f"[{technique}]({name.link}) {name.name}",
            f"{len(of_technique)}",
            f"{sum(test.ran for test in of_technique)}",
            f"{len(ought)}",
            *_cells(ought),
        )


def _others(test: ProvenTest) -> str:
    return ", ".join(SETS[of] for of in range(1, len(SETS)) if test.is_detected(of))


def _warnings(tests: Iterable[ProvenTest]) -> str:
    found = [
        _plain(test.name)
        for test in tests
        if test.grade in ("discovery", "builtin")
        and any(f"({each})" in rule for rule in test.rules for each in _WARNINGS)
    ]
    return ", ".join(found) or "No test"


def _plain(text: str) -> str:
    """Return a test's text as part of a table."""
    return text.strip().replace("|", "\\|").replace("*", "\\*").replace("<", "&lt;").replace("`", "'")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join((f"| {' | '.join(head)} |", "|---" * len(head) + "|", *lines)) + "\n" if lines else "None.\n"


def _list(tests: Iterable[ProvenTest], more: Callable[[ProvenTest], str] = lambda _test: "") -> str:
    return "".join(f"- {test.technique}, {_plain(test.name)}{more(test)}\n" for test in tests) or "- none\n"
