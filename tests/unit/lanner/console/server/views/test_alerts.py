import html
import re
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from lanner.console.server.views.alerts import fact_links
from lanner.console.store.filters import Filters
from lanner.console.store.rows import Mark
from lanner.recorder.search import compile_search
from tests.unit.lanner.console.alerts import HOSTILE, HOUR, NOW, filled, found, hostile_alert
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


ALL = Filters(state="all", since="all")


def test_the_overview_sums_up_what_is_open(tmp_path: Path) -> None:
    """What was acknowledged counts for noise only; a host's rules count once each, by their priority."""
    shell = {"container.id": "0123456789ab", "container.image.repository": "nginx"}
    alerts = [
        *(found(number, hostname="web-1") for number in range(6)),
        found(90, rule="A", priority="Critical", hostname="web-2", tags=("mitre_execution", "T1059.004"), event=shell),
        *(
            found(number, id=f"seen-{number}", rule="Seen", priority="Critical", hostname="db", tags=("T1059.004",))
            for number in range(9)
        ),
    ]
    view, reader = filled(tmp_path, alerts)
    seen = next(group for group in reader.groups(ALL, NOW).groups if group.rule == "Seen")
    view.set_marks([Mark(f"group:{seen.key}", "acknowledged", str(NOW + HOUR), "eve", NOW)])

    made = reader.overview(ALL, (NOW - HOUR) // 1000, NOW)
    assert [(each.priority, each.groups, each.alerts) for each in made.priorities] == [(2, 1, 1), (4, 1, 6)]
    assert ([group.rule for group in made.new], made.new_total) == (["Read sensitive file"], 1)
    assert [(each.name, each.alerts) for each in made.workloads] == [("nginx", 1), ("web-*", 6)]
    assert [(each.name, each.alerts) for each in made.rules] == [("Seen", 9), ("Read sensitive file", 6), ("A", 1)]
    assert [(each.name, each.score, each.rules) for each in made.hosts] == [("web-2", 16, 1), ("web-1", 4, 1)]
    assert made.risky == 2
    tactics = {each.tactic.name: each for each in made.tactics if each.alerts}
    assert (tactics["Execution"].alerts, tactics["Execution"].priority) == (1, 2)
    assert tactics["Execution"].techniques == [("T1059.004", "Unix Shell", 1)]
    assert tactics["Credential Access"].techniques == [("T1003.008", "/etc/passwd and /etc/shadow", 6)]


def test_its_page_begins_where_somebody_looked_last(serve: Serve) -> None:
    """The address has the time; a wrong one is explained, and each part leads to the list."""
    now = time.time_ns()
    served = serve(alerts=[found(0, id="a", time=now - HOUR), found(0, id="b", rule="New", time=now - HOUR // 60)])
    served.wait_for(2)
    texts = {since: served.ask(f"/overview?seen={since}").text for since in ("30m", "2h", "30s")}
    assert [text.count('class="headline"') for text in texts.values()] == [1, 2, 0]
    assert "New in the last 24 hours" in served.ask("/overview").text
    assert "The most severe groups" in served.ask("/overview?seen=all&since=all").text
    for address in re.findall(r'href="(/[^"]*since=[^"]*)"', texts["2h"]):
        assert served.ask(html.unescape(address)).status == 200
    for wrong in ("seen=soon", "since=soon"):
        answer = served.ask(f"/overview?{wrong}")
        assert answer.status == 400
        assert f"{wrong[:-5]} must be" in html.unescape(answer.text)
