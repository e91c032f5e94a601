import re
from itertools import product
from pathlib import Path
from typing import get_args

from tests.tiers import COMPUTING, FAST, LONG, MAIN, ROOT, Lane, Tier, chosen, files, tier


def test_the_tiers_together_are_all_tests_and_none_is_in_two() -> None:
    """`make test` and `make test-rest` leave nothing out, also files that have another name."""
    lanes = [chosen(lane, each) for lane, each in product(get_args(Lane), get_args(Tier))]
    defining = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "tests").rglob("*.py")
        if re.search(r"^(async )?def test_|^class Test|^    def test_", path.read_text(), re.MULTILINE)
    }
    assert sorted(file for lane in lanes for file in lane) == files()
    assert defining <= set(files())


def test_each_path_of_the_tiers_is_there_and_named_once() -> None:
    """A test that moves would otherwise go to the last tier unnoticed."""
    named = [*FAST, *LONG, *(path for paths in MAIN.values() for path in paths)]
    assert [path for path in (*named, *COMPUTING) if not Path(path).exists()] == []
    assert len(set(named)) == len(named)
    assert {tier(file) for file in files()} == set(get_args(Tier))


def test_ci_runs_all_tiers_and_nothing_else() -> None:
    """No check is dropped, and none is known to CI alone."""
    lines = [line for line in Path(".ci/run").read_text().splitlines() if not line.startswith(("#", "set ", "cd "))]
    assert lines == ["export LANNER_REQUIRE_SHARED=1", "make test-all"]
    target = Path("Makefile").read_text().partition("\ntest-all:\n")[2].partition("\n\n")[0]
    steps = ("setup.sh test", f"tests.sh 'lint {' '.join(get_args(Tier))}'")
    assert all(f"deploy/setup/{step}" in target for step in steps)
