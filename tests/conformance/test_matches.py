"""Random conditions over recorded events: the number of events of a capture that each matches."""

import gzip
import json
from functools import cache
from typing import Any

from processor.compiler.checks import errors
from processor.compiler.mapping import compile_mapping
from processor.language.parser import parse
from tests.conformance.cases import Case, each_case
from tests.reference import conformance_dir


@cache
def _events(capture: str) -> list[dict[str, Any]]:
    path = conformance_dir().parent / "expected" / "events" / f"{capture}.jsonl.gz"
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line)["output_fields"] for line in lines]


@each_case("matches")
def test_as_many_events_match_as_in_falco(case: Case) -> None:
    """The number of matching events of a capture equals Falco's."""
    condition = parse(case["condition"])

    assert errors(condition) == []
    assert sum(map(compile_mapping(condition), _events(case["capture"]))) == case["count"]
