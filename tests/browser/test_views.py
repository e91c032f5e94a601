import errno
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import expect

from lanner.console.server.app import VIEWS
from schemas.batch import EventBit
from tests.browser.conftest import Serve, Visiting
from tests.browser.consoles import PAGES, SECOND, pages, recent, several, surroundings
from tests.browser.visits import settled
from tests.unit.lanner.console.events import read_at, retained
from tests.unit.lanner.console.server.running import Served


@pytest.fixture
def served(serve: Serve, tmp_path: Path) -> Served:
    """Return a console with alerts."""
    made = serve(alerts=several(), **surroundings(tmp_path))
    made.wait_for(12)
    return made


@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_its_window(name: str, served: Served, visit: Visiting) -> None:
    """Nothing needs scrolling sideways, on a phone, on a very wide screen and between; times have dates."""
    one = visit(served)
    one.page.clock.set_fixed_time(time.time() + 2 * 86_400)
    page = settled(one.open(pages(served)[name]))
    for width in (360, 950, 970, 1160, 1410, 2560):
        page.set_viewport_size({"width": width, "height": 900})
        assert not one.is_wider_than_the_window(), f"{width} pixels"


def test_every_view_opens_by_its_key_and_says_where_it_is(served: Served, visit: Visiting) -> None:
    """`g` and the view's key, from any other view."""
    one = visit(served)
    page = one.open("/alerts/alert-0")
    for view in VIEWS:
        page.keyboard.press("g")
        page.keyboard.press(view.key)
        page.wait_for_url(f"**{view.path}", wait_until="load")
        expect(page.locator("nav [aria-current=page]")).to_have_text(view.name)
        assert page.title()
        assert page.locator("h1").count() == 1


def test_what_is_new_begins_where_this_browser_left_the_overview(served: Served, visit: Visiting) -> None:
    """Everything of a day at the first time; afterwards what came since the page was left."""
    # The newest alert came just now, and the time of leaving counts in whole seconds.
    time.sleep(1)
    page = visit(served).open("/overview")
    expect(page.get_by_role("heading", name="New in the last 24 hours")).to_be_visible()
    expect(page.locator(".news li")).to_have_count(6)
    page.keyboard.press("g")
    page.keyboard.press("a")
    page.wait_for_url(re.compile(r"/$"))
    served.queue.put(recent(-1, rule="While away"))
    served.wait_for(13)
    page.keyboard.press("g")
    page.keyboard.press("o")
    expect(page.get_by_role("heading", name="New since you last looked")).to_be_visible()
    expect(page.locator(".news li")).to_have_count(1)
    expect(page.locator(".news")).to_contain_text("While away")
    page.locator(".news .headline").press("Enter")
    page.wait_for_url("**/groups/*")


def test_a_search_tells_a_refused_open_from_one_that_was_done(tmp_path: Path, serve: Serve, visit: Visiting) -> None:
    """With its error, and times to the millisecond in a zone that is stated."""
    now = time.time_ns()
    done, refused = read_at(now), read_at(now - SECOND)
    refused.columns["res"][0] = -errno.EACCES
    refused.columns["bits"][0] |= EventBit.FAILED
    made = serve(**retained(tmp_path, replace(refused, sequence=1), replace(done, sequence=2)))
    page = settled(visit(made, timezone_id="Asia/Kathmandu").open("/search?q=proc.pid+%3D+4711&since=1h"))
    expect(page.get_by_role("columnheader", name="Time UTC+05:45")).to_be_visible()
    rows = page.locator("table.events tbody tr")
    expect(rows).to_have_count(2)
    assert [("failed: EACCES" in text) for text in rows.all_inner_texts()] == [False, True]
    for text in page.locator("table.events time").all_inner_texts():
        assert re.search(r"\d\d:\d\d:\d\d\.\d{3}$", text)
