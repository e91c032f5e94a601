import time
from urllib.parse import parse_qs, urlsplit

import pytest

from lanner.console.server.views.alerts import fact_links
from lanner.recorder.search import compile_search
from tests.unit.lanner.console.alerts import HOSTILE, found, hostile_alert
from tests.unit.lanner.console.server.conftest import Serve

DIGEST = "5a" * 32
EVENT = {
    "proc.exe.sha256": DIGEST,
    "proc.exe.origin": "dropped",
    "proc.exe.written_by": "curl",
    "proc.exe.package": "lib-x+y",
    "fd.sip.name": "c2.example",
    "dns.question.name": "a.example",
}


def test_a_fact_leads_to_other_alerts_and_to_events_with_it() -> None:
    """By conditions that the search takes; without events, to alerts only."""
    links = fact_links(found(1, event=EVENT), events=True)
    conditions = {label: parse_qs(urlsplit(address).query)["q"][0] for label, (_, (_, address)) in links.items()}
    assert conditions == {
        "SHA-256": f'proc.exe.sha256 = "{DIGEST}"',
        "origin": 'proc.exe.package = "lib-x+y"',
        "connection": 'fd.rip.name endswith "c2.example"',
        "looked up": 'dns.question.name = "a.example"',
    }
    for each in conditions.values():
        compile_search(each, ())
    assert {len(each) for each in fact_links(found(1, event=EVENT), events=False).values()} == {1}


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_value_makes_no_other_condition(text: str) -> None:
    """What can't be shown has no link."""
    for pairs in fact_links(hostile_alert(text), events=True).values():
        compile_search(parse_qs(urlsplit(pairs[1][1]).query)["q"][0], ())


def test_an_alert_is_found_by_its_digest_package_writer_and_names(serve: Serve) -> None:
    """Its page has the digest to copy, and what wrote the program."""
    made = found(0, id="alert-1", time=time.time_ns(), event=EVENT | {"proc.cmdline": "x" * 5000})
    served = serve(alerts=[made, found(0, id="alert-2", time=time.time_ns())])
    served.wait_for(2)
    page = served.ask("/alerts/alert-1").text
    assert f'data-copy="{DIGEST}"' in page
    assert "dropped by curl" in page
    for word in (DIGEST, "lib-x+y", "curl", "c2.example", "a.example"):
        (only,) = served.ask(f"/api/alerts?since=all&q=%22{word.replace('+', '%2B')}%22").json["alerts"]
        assert only["id"] == "alert-1"
