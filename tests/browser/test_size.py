import time
from pathlib import Path

from playwright.sync_api import expect

from lanner.console.store.record import record_of
from lanner.console.store.view import AlertView
from lanner.wiring.stages.console import VIEW
from tests.browser.conftest import Serve, Visiting
from tests.browser.consoles import SECOND, pages, several, surroundings
from tests.browser.test_alerts import ROWS
from tests.unit.lanner.console.alerts import found

ALERTS, GROUPS = 100_000, 260
FIRST_VIEW, WHOLE = 200_000, 600_000
"""Uncompressed bytes."""
LOADED = """performance.getEntries().filter((each) => "decodedBodySize" in each)
  .map((each) => [new URL(each.name).pathname, each.decodedBodySize])"""


def test_a_hundred_thousand_alerts_are_paged_and_scrolled(tmp_path: Path, serve: Serve, visit: Visiting) -> None:
    """To the last group, and on to old alerts of one group; no page grows with their number."""
    now = time.time_ns()
    alerts = (
        found(0, id=f"alert-{number}", time=now - number * SECOND // 2, rule=f"Rule {number % GROUPS}")
        for number in range(ALERTS)
    )
    (tmp_path / "console").mkdir()
    view = AlertView(tmp_path / "console" / VIEW)
    view.add(map(record_of, alerts), now)
    view.close()
    one = visit(serve())
    page = one.open("/")
    rows = page.locator(ROWS)
    expect(page.locator("#content .counts")).to_contain_text("100,000 alerts")
    counts = page.get_by_role("complementary", name="Alerts by value")
    expect(counts.get_by_role("link", name="web-3 100,000")).to_be_visible()
    expect(counts.get_by_role("link", name="Rule 10 385")).to_be_visible()
    seen = set(rows.locator(".rule").all_inner_texts())
    while page.get_by_role("link", name="Next").count():
        for _ in range(3):
            page.mouse.wheel(0, 4000)
        with page.expect_navigation():
            page.get_by_role("link", name="Next").click()
        assert rows.count() <= 50
        seen |= set(rows.locator(".rule").all_inner_texts())
    assert len(seen) == GROUPS
    page.keyboard.press("k")
    page.keyboard.press("Enter")
    page.wait_for_url("**/groups/*")
    listed = []
    for _ in range(4):
        listed += page.locator("table.alerts time").evaluate_all("(all) => all.map((each) => each.dateTime)")
        with page.expect_navigation():
            page.get_by_role("link", name="Older").click()
    assert listed == sorted(set(listed), reverse=True)
    assert len(listed) == 200
    page = one.open("/overview")
    expect(page.locator(".figures")).to_contain_text("260 open groups, 100,000 alerts")
    assert page.locator(".ranks li").count() <= 3 * 8


def test_pages_are_small(tmp_path: Path, serve: Serve, visit: Visiting) -> None:
    """The first view with a full list, and all pages together, each file counted once."""
    made = serve(alerts=several(60), **surroundings(tmp_path))
    made.wait_for(60)
    one = visit(made)
    sizes: dict[str, int] = {}
    for path in pages(made).values():
        sizes |= {str(name): int(size) for name, size in one.open(path).evaluate(LOADED)}
        if path == "/":
            assert sum(sizes.values()) < FIRST_VIEW
    assert {"/", "/static/console.css", "/static/console.js"} <= set(sizes)
    assert sum(sizes.values()) < WHOLE
