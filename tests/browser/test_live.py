import re
import time
from contextlib import nullcontext
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path

import pytest
from playwright.sync_api import Route, expect

from lanner.console.pipeline import PipelineSource
from lanner.console.server.live import MAX_OF_SESSION
from lanner.operations.freshness import PipelineQueue
from tests.browser.conftest import Serve, Visiting
from tests.browser.consoles import recent, several
from tests.browser.test_alerts import ROWS
from tests.unit.lanner.console.alerts import soon
from tests.unit.lanner.console.server.running import Served


@pytest.fixture
def served(serve: Serve) -> Served:
    """Return a console with alerts."""
    made = serve(alerts=several())
    made.wait_for(12)
    return made


def test_an_alert_appears_by_itself_unless_the_page_is_paused(served: Served, visit: Visiting) -> None:
    """While it is paused, the button counts; then everything is there. The row in focus keeps the focus."""
    page = visit(served).open("/")
    live = page.locator("#live")
    expect(live).to_have_text("Live")
    page.keyboard.press("j")
    focused = page.evaluate("document.activeElement.textContent")
    served.queue.put(recent(-1, rule="First"))
    expect(page.locator(ROWS).first).to_contain_text("First")
    assert page.evaluate("document.activeElement.textContent") == focused
    page.keyboard.press("p")
    expect(live).to_have_attribute("aria-pressed", "true")
    served.queue.put(recent(-2, rule="Second"))
    expect(live).to_have_text("Paused, 1 new")
    expect(page.locator(ROWS).first).to_contain_text("First")
    page.keyboard.press("p")
    expect(page.locator(ROWS).first).to_contain_text("Second")
    expect(live).to_have_text("Live")


def test_a_page_is_live_only_while_events_are_evaluated_in_time(serve: Serve, visit: Visiting) -> None:
    """Until then, it shows until when they are, and why; that goes away by itself."""
    late = PipelineQueue("processor", "processors", "correlate", 762_382, time.time() - 846, 2)
    queues = [late]
    served = serve(alerts=several(), pipeline=PipelineSource(lambda: queues, lambda: nullcontext(())))
    served.wait_for(12)
    served.ask("/pipeline")
    page = visit(served).open("/")
    live, bar = page.locator("#live"), page.locator("#freshness")
    expect(live).to_have_text("Behind")
    expect(bar).to_contain_text("762,382 messages wait for processors")
    assert re.search(r"Evaluated up to [-\d]+ \d\d:\d\d:\d\d.*\. Evaluation correlate: 14m", bar.inner_text())
    queues[0] = replace(late, oldest=time.time())
    assert any("data-late" not in served.ask("/").text for _ in soon())
    served.queue.put(recent(-1, rule="First"))
    expect(live).to_have_text("Live")
    expect(bar).to_be_empty()


def test_an_alert_between_a_page_and_its_connection_appears_by_itself(served: Served, visit: Visiting) -> None:
    """Nobody announces it to a page that doesn't listen yet."""
    one = visit(served)
    page = one.page
    shown = re.findall(r'data-version="\d+"', served.ask("/").text)[0]

    def late(route: Route) -> None:
        served.queue.put(recent(-1, rule="In between"))
        assert any(shown not in served.ask("/").text for _ in soon())
        route.continue_()

    page.route("**/api/live", late, times=1)
    one.open("/")
    expect(page.locator(ROWS).first).to_contain_text("In between")


def test_the_first_alert_of_an_empty_fleet_appears_by_itself(serve: Serve, visit: Visiting) -> None:
    """The page that explains itself becomes the list."""
    served = serve()
    page = visit(served).open("/")
    expect(page.get_by_role("heading", name="No alerts yet")).to_be_visible()
    expect(page.get_by_text("sudo lanner demo")).to_be_visible()
    expect(page.locator("#live")).to_have_text("Live")
    served.queue.put(recent(0))
    expect(page.locator(ROWS)).to_have_count(1)


def test_a_page_beyond_the_limit_of_its_session_is_read_now_and_then(served: Served, visit: Visiting) -> None:
    """It shows the reason, and becomes live when another page is closed."""
    held = [HTTPConnection("127.0.0.1", served.port, timeout=20) for _ in range(MAX_OF_SESSION)]
    for each in held:
        each.request("GET", "/api/live")
        assert each.getresponse().status == 200
    one = visit(served)
    one.page.clock.install()
    page = one.open("/")
    live = page.locator("#live")
    expect(live).to_have_text("Every 15 s")
    expect(live).to_have_attribute("title", "Not live: You have 20 other pages with live updates open.")
    expect(page.locator("#status")).to_contain_text("You have 20 other pages with live updates open.")
    served.queue.put(recent(-1, rule="Meanwhile"))
    served.wait_for(13)
    page.clock.fast_forward(15_000)
    expect(page.locator(ROWS).first).to_contain_text("Meanwhile")
    for each in held:
        each.close()
    page.clock.fast_forward(15_000)
    expect(live).to_have_text("Live")
    assert all("429" in problem for problem in one.problems)
    one.problems.clear()


def test_a_page_in_the_background_has_no_stream(served: Served, visit: Visiting) -> None:
    """It counts what it missed, and shows it when somebody looks at it again."""
    page = visit(served).open("/")
    live = page.locator("#live")
    expect(live).to_have_text("Live")

    def hide(*, hidden: bool) -> None:
        page.evaluate(
            "(hidden) => { Object.defineProperty(document, 'hidden', { configurable: true, get: () => hidden });"
            "document.dispatchEvent(new Event('visibilitychange')); }",
            hidden,
        )

    page.keyboard.press("p")
    hide(hidden=True)
    assert any("lanner_console_live_pages 0.0" in served.ask("/metrics").text for _ in soon())
    served.queue.put(recent(-1, rule="Unseen"))
    served.wait_for(13)
    hide(hidden=False)
    expect(live).to_have_text("Paused, 1 new")
    page.keyboard.press("p")
    expect(page.locator(ROWS).first).to_contain_text("Unseen")
    expect(live).to_have_text("Live")


def test_two_people_see_what_the_other_decided_about_the_same_alert(served: Served, visit: Visiting) -> None:
    """Both comments are there, and a group that one acknowledges leaves the other's list."""
    one, other = visit(served).open("/alerts/alert-0"), visit(served).open("/alerts/alert-0")
    for page, text in ((one, "looks bad"), (other, "it was me")):
        page.get_by_label("Comment").fill(text)
    for page in (one, other):
        page.get_by_role("button", name="Add comment").click()
    for page in (one, other):
        expect(page.locator(".marks blockquote")).to_have_count(2)
    for page in (one, other):
        page.goto(page.url.replace("/alerts/alert-0", "/"))
        expect(page.locator("#live")).to_have_text("Live")
    before = one.locator(ROWS).count()
    one.keyboard.press("j")
    other.keyboard.press("j")
    # In the opposite order, the list of the one who assigns may have lost the group by then.
    other.keyboard.press("i")
    one.keyboard.press("a")
    for page in (one, other):
        expect(page.locator(ROWS)).to_have_count(before - 1)
    one.goto(one.url + "?state=acknowledged")
    expect(one.locator(ROWS)).to_contain_text(["local"])


def test_a_page_recovers_by_itself_when_the_console_comes_back(tmp_path: Path, served: Served, visit: Visiting) -> None:
    """With what came in between; also after an answer of a proxy whose console is away."""
    one = visit(served)
    page = one.open("/")
    live = page.locator("#live")
    expect(live).to_have_text("Live")
    page.keyboard.press("/")
    page.keyboard.type("half a sea")
    served.stop()
    expect(live).to_have_text("Reconnecting")
    page.route("**/api/live", lambda route: route.fulfill(status=503), times=1)
    again = Served(tmp_path / "console", alerts=[recent(-1, rule="While away")], listen=f"127.0.0.1:{served.port}")
    expect(page.locator(ROWS).first).to_contain_text("While away")
    expect(live).to_have_text("Live")
    expect(page.get_by_label("Search")).to_have_value("half a sea")
    assert not [problem for problem in one.problems if "Failed to load resource" not in problem]
    one.problems.clear()
    page.close()
    again.stop()
