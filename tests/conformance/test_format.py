"""Output texts and their fields."""

import json

import pytest

from processor.language.ast import Transformer
from processor.output.formatter import MISSING, OutputFormat, Rendered, compile_output
from processor.output.tokens import OutputError, Token
from tests.conformance.cases import Case, each_case
from tests.conformance.falco_events import batch_of


@each_case("format")
def test_an_output_reads_as_in_falco(case: Case) -> None:
    """An output has Falco's text, JSON and fields, or is rejected if Falco rejects it."""
    if case["expect"] == "error":
        with pytest.raises(OutputError):
            compile_output(case["format"])
        return
    fields = case.get("fields") or {}
    # Falco's tests list transformers too, except where they state that its alerts don't.
    output = compile_output(case["format"], transformers=case.get("fields_count") != 1 or len(fields) > 1)
    if "event" not in case:
        return

    batch = batch_of(case)
    rendered = output.bind(batch)(0, batch.columns["fd_name"][0])
    if not case["format"].startswith("*"):
        rendered = _until_missing(output, rendered)

    if case["as"] == "json":
        expected = json.loads(case["output"]) or {}
        assert expected == {key: rendered.fields[key] for key in expected}
    else:
        assert rendered.text == case["output"]
    for name, value in fields.items():
        assert _shown(rendered.fields[name]) == value
    assert len(rendered.fields) == case.get("fields_count", len(rendered.fields))


def _shown(value: object) -> str:
    return MISSING if value is None else str(value)


def _until_missing(output: OutputFormat, rendered: Rendered) -> Rendered:
    """Cut an output at its first missing value, where Falco stops if the text has no asterisk at its beginning."""
    missing = next((key for key, value in rendered.fields.items() if value is None), None)
    if missing is None:
        return rendered
    fields = list(rendered.fields.items())
    before = dict(fields[: list(rendered.fields).index(missing)])
    texts: list[str] = []
    for part in output.parts:
        if isinstance(part, Token):
            if part.key not in before or isinstance(part.side, Transformer):
                break
            texts.append(_shown(before[part.key]))
        else:
            texts.append(part)
    return Rendered("".join(texts), before)
