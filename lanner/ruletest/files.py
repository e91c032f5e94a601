"""Finds and reads test files and the rules that they test."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lanner.errors import BadInput
from lanner.ruletest.model import Suite
from lanner.ruletest.reading import is_test_file, read_suite, rule_file_of, test_file_of
from lanner.ruletest.running import RuleSet, unknown_names
from processor.loading import LoadResult, Problem, Rule, load_rules, read_rule_files

_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class TestedRules:
    """A test file and its rules, without errors."""

    suite: Suite
    rules: RuleSet


@dataclass(frozen=True, slots=True)
class TestFiles:
    """The result of a search."""

    tested: tuple[TestedRules, ...]
    untested: tuple[tuple[str, tuple[Rule, ...]], ...]
    """Rule files without a test file, with their rules."""
    problems: tuple[Problem, ...]


def find_tests(paths: Sequence[str], rules: Sequence[str]) -> TestFiles:
    """Find and read test files.

    Args:
        paths: test files, rule files (for the test file beside each), or folders of both.
        rules: rule files to test instead of those that the test files name.

    Raises:
        BadInput: A path doesn't exist.
    """
    problems: list[Problem] = []
    tested: list[TestedRules] = []
    untested: list[tuple[str, tuple[Rule, ...]]] = []
    loaded: dict[tuple[str, ...], LoadResult] = {}

    def load(files: tuple[str, ...]) -> LoadResult:
        if files not in loaded:
            loaded[files] = load_rules(read_rule_files(files))
            problems.extend(loaded[files].errors)
        return loaded[files]

    for file in dict.fromkeys(_files(paths)):
        if not is_test_file(file):
            result = load((file,))
            untested.append((file, result.rules))
            continue
        suite, wrong = read_suite(file, _read(file))
        problems.extend(wrong)
        result = load(tuple(rules) or suite.rules)
        if result.ok:
            problems.extend(unknown_names(suite, result.rules))
        tested.append(TestedRules(suite, RuleSet(result.rules, result.correlations, result.suppressed)))
    return TestFiles(tuple(tested), tuple(untested), tuple(dict.fromkeys(problems)))


def _files(paths: Sequence[str]) -> Iterable[str]:
    """Yield test files, and rule files without one."""
    for given in paths:
        path = Path(given)
        if path.is_dir():
            members = sorted(str(each) for each in path.iterdir() if each.suffix in _SUFFIXES and each.is_file())
            yield from (_its_test(each) for each in members)
        elif path.exists():
            yield _its_test(given)
        else:
            hint = f" It would hold the tests of {rule_file_of(given)}." if is_test_file(given) else ""
            raise BadInput(f"{given}: no such file or folder.{hint}")


def _its_test(file: str) -> str:
    """Return the test file of a rule file, or the rule file itself if there is none."""
    if is_test_file(file):
        return file
    beside = test_file_of(file)
    return beside if Path(beside).is_file() else file


def _read(file: str) -> str:
    try:
        return Path(file).read_bytes().decode("utf-8")
    except OSError as error:
        raise BadInput(f"{file}: can't be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise BadInput(f"{file}: not UTF-8 at byte {error.start}; save it as UTF-8.") from None
