from lanner.settings import load_settings
from lanner.wiring.routing.templates import appended
from tests.unit.alerts import alert


def test_alerts_of_falco_get_what_append_output_adds() -> None:
    """Text, a field of the alert, and a field with a format, if rule, source and tags match."""
    entries = (
        "{match: {rule: A, tags: [t]}, extra_output: 'by %ka.user.name', extra_fields: [fd.name, {team: blue}]}",
        "{match: {source: other}, extra_output: no}",
    )
    add = appended(load_settings(None, {}, [f"append_output[]={each}" for each in entries]))
    made = alert(rule="A", tags=("t", "u"), output="o", output_fields={"ka.user.name": "x"}, event={"fd.name": "/a"})
    found = add(made)
    assert found.output == "o by x"
    assert found.output_fields == {"ka.user.name": "x", "fd.name": "/a", "team": "blue"}
    other = alert(rule="B", tags=("t",))
    assert add(other) == other
