import time
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Serve, Visiting
from tests.browser.consoles import pages, recent, surroundings
from tests.browser.visits import settled
from tests.unit.lanner.console.alerts import HOSTILE, hostile_alert
from tests.unit.lanner.console.server.running import HEADER, Served

ALL = " ".join(HOSTILE)
TEXT = ALL.encode(errors="replace").decode()
"""All of them, as what has gone through UTF-8."""


@pytest.fixture
def served(serve: Serve, tmp_path: Path) -> Served:
    """Return a console whose alerts, decisions and names of hosts are of an attacker."""
    alerts = [
        hostile_alert(text, id=f"alert-{number}", time=time.time_ns()) for number, text in enumerate((ALL, *HOSTILE))
    ]
    made = serve(**surroundings(tmp_path, TEXT))
    for alert in alerts:
        made.queue.put(alert)
    made.wait_for(len(alerts))
    for group in made.ask("/api/groups?state=all").json["groups"]:
        for action in ("comment", "assign"):
            body = {"subject": f"group:{group['key']}", "action": action, "value": TEXT}
            assert made.ask("/api/marks", body, headers=HEADER).status == 200
    return made


def test_an_attacker_can_do_nothing_on_any_page(served: Served, visit: Visiting) -> None:
    """No dialog, no message, no breach of the policy, no request elsewhere: their texts are text."""
    one = visit(served)
    groups = [f"/groups/{group['key']}" for group in served.ask("/api/groups?state=all").json["groups"]]
    alerts = [f"/alerts/alert-{number}" for number in range(len(HOSTILE) + 1)]
    for path in dict.fromkeys((*pages(served).values(), *groups[:3], *alerts[:3])):
        page = settled(one.open(path))
        for details in page.locator("details").all():
            details.evaluate("(each) => { each.open = true; }")
        settled(page)
        page.locator("main").hover()
        assert page.locator("main :is(script, iframe, object, embed, style, [style], base, link, meta)").count() == 0
        assert page.locator("main img").count() == 0
        assert not set("\u202e\x1b\x00") & set(page.locator("body").inner_text())
        page.keyboard.press("j")
        assert one.problems == [], path
        # A person doesn't open pages as fast: requests are limited.
        page.wait_for_timeout(400)


def test_an_attacker_can_do_nothing_while_a_page_is_open(served: Served, visit: Visiting) -> None:
    """What arrives live is escaped as what was there; so are names to choose from, and messages."""
    one = visit(served)
    page = one.open("/")
    expect(page.locator("#live")).to_have_text("Live")
    served.queue.put(hostile_alert(f"live {ALL}", id="late", time=time.time_ns()))
    expect(page.get_by_text("live <script>").first).to_be_visible()
    page.keyboard.press("f")
    expect(page.locator("#names-rule option")).not_to_have_count(0)
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.keyboard.press("i")
    expect(page.locator("#status")).to_have_text("Done.")
    assert one.problems == []


def test_a_link_with_hostile_filters_shows_text(serve: Serve, visit: Visiting) -> None:
    """Filters of the address are on the page; a filter that is not valid is in its message."""
    made = serve(alerts=[recent(0)])
    made.wait_for(1)
    one = visit(made)
    for name in ("q", "rule", "host", "tag"):
        page = one.open(f"/?{name}=%22%3E%3Cimg src=x onerror=alert(1)%3E%3Cscript%3Ealert(1)%3C/script%3E")
        assert page.locator("main :is(script, img)").count() == 0
        expect(page.locator("main")).to_contain_text("Nothing matches")
