from pathlib import Path

import pytest

from tests.fuzz.properties import TARGETS
from tests.fuzz.running import fuzz

CORPUS = Path(__file__).with_name("corpus")
SECONDS = 2


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*/*")), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_properties_hold_for_the_corpus(path: Path) -> None:
    """Inputs that once broke the targets are stored there."""
    TARGETS[path.parent.name](path.read_bytes())


@pytest.mark.fuzz
def test_a_few_seconds_of_fuzzing_find_nothing(tmp_path: Path) -> None:
    """In any target; `make soak` fuzzes each for ten minutes."""
    done = fuzz([*TARGETS], SECONDS, tmp_path)

    assert done.returncode == 0, done.stderr[-4000:]
