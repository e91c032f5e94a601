"""Output texts and their fields."""

import json

import pytest

from processor.output.formatter import compile_output
from processor.output.tokens import OutputError
from tests.conformance.cases import Case, each_case
from tests.conformance.falco_events import batch_of


@each_case("format")
def test_an_output_reads_as_in_falco(case: Case) -> None:
    """An output has Falco's text, JSON and fields, or is rejected if Falco rejects it."""
    # Falco's engine itself puts the asterisk, "go on where a value is missing", before a rule's output.
    text = case["format"].removeprefix("*")
    if case["expect"] == "error":
        with pytest.raises(OutputError):
            compile_output(text)
        return
    output = compile_output(text)
    if "event" not in case:
        return

    batch = batch_of(case)
    rendered = output.bind(batch)(0, batch.columns["fd_name"][0])

    if case["as"] == "json":
        assert json.loads(case["output"]) == {key: rendered.fields[key] for key in json.loads(case["output"])}
    else:
        assert rendered.text == case["output"]
    for name, value in (case.get("fields") or {}).items():
        shown = rendered.fields[name]
        assert ("<NA>" if shown is None else str(shown)) == value
    assert len(rendered.fields) == case.get("fields_count", len(rendered.fields))
