from pathlib import Path

import pytest
from playwright.sync_api import expect

from lanner.console.server.app import VIEWS
from tests.browser.conftest import Serve, Visiting
from tests.browser.consoles import PAGES, pages, several, surroundings
from tests.browser.visits import settled
from tests.unit.lanner.console.server.running import Served


@pytest.fixture
def served(serve: Serve, tmp_path: Path) -> Served:
    """Return a console with alerts."""
    made = serve(alerts=several(), **surroundings(tmp_path))
    made.wait_for(12)
    return made


@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_its_window(name: str, served: Served, visit: Visiting) -> None:
    """Nothing needs scrolling sideways, on a phone and on a very wide screen."""
    one = visit(served)
    page = settled(one.open(pages(served)[name]))
    for width in (360, 2560):
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
