import json

from notifier.formats.falco import parse_falco
from tests.reference import present, shared_dir


def test_every_alert_that_falco_wrote_is_taken_as_it_is_meant() -> None:
    """The intake accepts real lines that Falco's http_output posts."""
    folder = present(shared_dir() / "conformance" / "expected" / "alerts")
    lines = [line for path in sorted(folder.glob("*.jsonl")) for line in path.read_text().splitlines()]
    assert lines
    for line in lines:
        given = json.loads(line)
        made = parse_falco(line.encode())
        assert (made.rule, made.priority, made.hostname) == (given["rule"], given["priority"], given["hostname"])
        assert given["output"].endswith(f": {given['priority']} {made.output}")
        assert made.output_fields == given["output_fields"]
