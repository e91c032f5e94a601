from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from lanner.console.server.app import VIEWS
from tests.browser.conftest import Serve, Visiting
from tests.browser.consoles import PAGES, pages, several, surroundings
from tests.browser.visits import Visit, settled
from tests.unit.lanner.console.server.running import Served

RULES = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    "rules": {"target-size": {"enabled": True}},
    "resultTypes": ["violations"],
}
THEMES = ("light", "dark")
SIZES = {"light": {"width": 1280, "height": 800}, "dark": {"width": 360, "height": 800}}


def findings(visit: Visit) -> str:
    """Return what axe-core finds on a page that is open; empty if nothing."""
    results = Axe().run(visit.page, options=RULES)
    return results.generate_report() if results.violations_count else ""


@pytest.fixture
def served(serve: Serve, tmp_path: Path) -> Served:
    """Return a console with alerts, one group muted and assigned, one with a comment."""
    made = serve(alerts=several(), **surroundings(tmp_path))
    made.wait_for(12)
    first, second, *_ = made.ask("/api/groups").json["groups"]
    for key, action, value in (
        (first["key"], "assign", "alice"),
        (second["key"], "mute", "8h"),
        (first["key"], "comment", "a test"),
    ):
        body = {"subject": f"group:{key}", "action": action, "value": value}
        assert made.ask("/api/marks", body, headers={"X-Lanner-Request": "test"}).status == 200
    return made


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_on_a_page(name: str, theme: str, served: Served, visit: Visiting) -> None:
    """WCAG 2.2 AA, in both themes: light on a wide screen, dark on a phone."""
    one = visit(served, color_scheme=theme, viewport=SIZES[theme])
    settled(one.open(pages(served)[name]))
    assert findings(one) == ""


@pytest.mark.parametrize("theme", THEMES)
def test_axe_finds_nothing_with_a_dialog_open(theme: str, served: Served, visit: Visiting) -> None:
    """The list of keys, and the choice of a time to mute."""
    one = visit(served, color_scheme=theme)
    page = one.open("/?state=all")
    page.keyboard.press("?")
    assert findings(one) == ""
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.keyboard.press("m")
    assert findings(one) == ""


@pytest.mark.parametrize("theme", THEMES)
def test_axe_finds_nothing_on_pages_without_alerts(theme: str, serve: Serve, visit: Visiting) -> None:
    """The views at a first visit."""
    one = visit(serve(), color_scheme=theme)
    for view in VIEWS:
        one.open(view.path)
        assert findings(one) == ""


@pytest.mark.parametrize("theme", THEMES)
def test_axe_finds_nothing_where_people_sign_in(theme: str, token: str, serve: Serve, visit: Visiting) -> None:
    """The form, what it answers to a token that is not valid, and the page of a viewer."""
    one = visit(serve(), color_scheme=theme)
    page = one.open("/")
    assert findings(one) == ""
    page.get_by_label("Token").fill("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("not valid")
    assert findings(one) == ""
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("No alerts yet")).to_be_visible()
    assert findings(one) == ""
    assert [problem for problem in one.problems if "403" not in problem] == []
    one.problems.clear()
