import re
from dataclasses import replace
from datetime import datetime
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Serve, Visiting
from tests.browser.consoles import recent, several
from tests.unit.lanner.console.server.running import Served

ROWS = "table.groups tbody tr"


@pytest.fixture
def served(serve: Serve) -> Served:
    """Return a console with alerts."""
    made = serve(alerts=several())
    made.wait_for(12)
    return made


def query(address: str) -> dict[str, str]:
    """Return the filters in an address."""
    return {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}


def test_filters_are_set_by_keyboard(served: Served, visit: Visiting) -> None:
    """The address holds them; a choice from a list leaves the focus where it was."""
    page = visit(served).open("/")
    page.keyboard.press("/")
    page.keyboard.type("shell bash")
    page.keyboard.press("Enter")
    page.wait_for_url("**/?*q=shell*")
    rows = page.locator(ROWS)
    expect(rows).to_have_count(2)
    page.keyboard.press("f")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.type("docker.io/*")
    page.keyboard.press("Enter")
    page.wait_for_url("**workload=docker*")
    expect(rows).to_have_count(1)
    priority = page.locator("[name=priority]")
    priority.focus()
    for _ in range(3):
        page.keyboard.press("ArrowDown")
    expect(page.get_by_text("Nothing matches")).to_be_visible()
    expect(priority).to_be_focused()
    assert query(page.url) | {"priority": "critical", "q": "shell bash", "workload": "docker.io/*"} == query(page.url)
    page.go_back()
    expect(rows).to_have_count(1)
    page.get_by_role("link", name="Clear all").press("Enter")
    expect(rows).to_have_count(6)


def test_a_time_is_chosen_by_keyboard_in_the_zone_of_the_viewer(served: Served, visit: Visiting) -> None:
    """What dragging on the histogram does with a mouse."""
    page = visit(served, timezone_id="Asia/Kathmandu").open("/")
    page.keyboard.press("f")
    page.get_by_label("From", exact=True).fill("2026-01-02T03:04:05")
    page.get_by_label("Until", exact=True).fill("2026-01-02T05:00:00")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Nothing matches")).to_be_visible()
    assert query(page.url)["since"] == "2026-01-01T21:19:05.000Z"
    assert query(page.url)["until"] == "2026-01-01T23:15:00.000Z"
    expect(page.locator("[data-time=since]")).to_have_value("2026-01-02T03:04:05")


def test_dragging_on_the_histogram_selects_a_time(served: Served, visit: Visiting) -> None:
    """The address holds it, and the choice can be removed."""
    page = visit(served).open("/?since=1h")
    box = page.locator("#histogram").bounding_box()
    assert box is not None
    caption = page.locator(".histogram figcaption")
    expect(caption).to_contain_text("4 Error and above 4 Warning 4 Notice")
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 20)
    expect(caption).to_contain_text(re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d to .*: \d alert"))
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.98, box["y"] + 20)
    expect(caption).to_contain_text(re.compile(r"to .*: \d+ alerts"))
    page.mouse.up()
    page.wait_for_url("**until=*")
    page.get_by_label("Remove the time range").click()
    page.wait_for_url(re.compile(r"/$"))


def test_rows_are_opened_and_decided_about_by_keyboard(served: Served, visit: Visiting) -> None:
    """To a group, to an alert and back; the focus goes on to what took the place of a row that left."""
    page = visit(served).open("/")
    before = page.locator(ROWS).count()
    page.keyboard.press("j")
    page.keyboard.press("j")
    rule = page.locator(f"{ROWS} .rule").nth(1).inner_text()
    page.keyboard.press("Enter")
    page.wait_for_url("**/groups/*")
    expect(page.get_by_role("heading", level=1)).to_contain_text(rule)
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/alerts/*")
    page.keyboard.press("c")
    page.keyboard.type("seen")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator(".marks blockquote")).to_have_text("seen")
    page.keyboard.press("Escape")
    page.locator("h1").click()
    page.keyboard.press("u")
    page.wait_for_url("**/groups/*")
    page.keyboard.press("u")
    page.wait_for_url(re.compile(r"/$"))
    expect(page.locator(ROWS)).to_have_count(before)
    page.keyboard.press("j")
    page.keyboard.press("x")
    page.keyboard.press("j")
    page.keyboard.press("x")
    page.keyboard.press("a")
    expect(page.locator(ROWS)).to_have_count(before - 2)
    expect(page.locator("#status")).to_contain_text("2 groups")
    page.keyboard.press("j")
    page.keyboard.press("m")
    page.get_by_role("button", name="8 hours").press("Enter")
    expect(page.locator(ROWS)).to_have_count(before - 3)
    expect(page.locator(":focus[data-open]")).to_be_visible()
    while page.locator(ROWS).count():
        left = page.locator(ROWS).count()
        page.keyboard.press("a")
        expect(page.locator(ROWS)).to_have_count(left - 1)
    expect(page.locator("main:focus")).to_be_visible()


def test_times_are_in_the_zone_of_the_viewer_and_utc_is_the_hint(served: Served, visit: Visiting) -> None:
    """On the list, on a group and on an alert."""
    page = visit(served, timezone_id="Asia/Kathmandu", locale="de-DE").open("/alerts/alert-660")
    time = page.locator("h1 ~ .counts time")
    utc = datetime.fromisoformat(time.get_attribute("datetime") or "")
    here, shown = utc.astimezone(ZoneInfo("Asia/Kathmandu")), time.inner_text()
    assert shown == f"{here:%Y-%m-%d %H:%M:%S}.{here.microsecond // 1000:03} UTC+05:45"
    assert time.get_attribute("title") == f"{utc:%Y-%m-%d %H:%M:%S}.{utc.microsecond // 1000:03} UTC"
    page.goto(page.url.replace("/alerts/alert-660", "/"))
    expect(page.get_by_role("columnheader", name="Newest UTC+05:45")).to_be_visible()
    assert re.fullmatch(r"(\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d\.\d{3}", page.locator("td.times time").first.inner_text())


def test_groups_are_acknowledged_together_by_mouse_and_on_a_phone(served: Served, visit: Visiting) -> None:
    """A bar counts what is selected and decides about it; neither it nor the message covers the last row."""
    page = visit(served, viewport={"width": 1000, "height": 500}).open("/")
    count = page.locator(ROWS).count()
    bar = page.get_by_role("toolbar", name="Selected groups")
    expect(bar).to_be_hidden()
    boxes = page.locator("[data-pick]")
    boxes.nth(0).click()
    boxes.nth(2).click(modifiers=["Shift"])
    expect(bar).to_contain_text("3 selected")
    boxes.nth(1).click()
    page.keyboard.press("x")
    page.keyboard.press("x")
    expect(bar).to_contain_text("2 selected")
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    last = page.locator(ROWS).last.bounding_box()
    over = bar.bounding_box()
    assert last
    assert over
    assert over["y"] >= last["y"] + last["height"]
    bar.get_by_role("button", name="Acknowledge").click()
    expect(page.locator(ROWS)).to_have_count(count - 2)
    message = page.locator("#status")
    expect(message).to_have_text("Done for 2 groups.")
    box, header = message.bounding_box(), page.locator("header.top").bounding_box()
    assert box
    assert header
    assert box["y"] + box["height"] <= header["y"] + header["height"]

    phone = visit(served, viewport={"width": 360, "height": 640}, has_touch=True)
    page = phone.open("/")
    page.locator("td.pick label").first.tap()
    expect(page.get_by_role("toolbar", name="Selected groups")).to_contain_text("1 selected")
    assert not phone.is_wider_than_the_window()
    page.get_by_role("button", name="Acknowledge").tap()
    expect(page.locator(ROWS)).to_have_count(count - 3)


def test_an_unknown_address_leads_back_to_the_list(served: Served, visit: Visiting) -> None:
    """By keyboard, from a page like the others."""
    one = visit(served)
    page = one.open("/nonsense")
    expect(page.get_by_role("heading", level=1)).to_have_text("Not found")
    page.get_by_role("link", name="Show the alerts").press("Enter")
    expect(page.locator(ROWS).first).to_be_visible()
    assert all("404" in problem for problem in one.problems)
    one.problems.clear()


def test_a_view_is_narrowed_by_a_count_saved_and_opened_again(served: Served, visit: Visiting) -> None:
    """The address is its link, with its columns and its name; the list of views is in this browser."""
    one = visit(served, viewport={"width": 1280, "height": 800})
    page = one.open("/")
    facets = page.get_by_role("complementary", name="Alerts by value")
    facets.get_by_role("link", name="web-1 3").click()
    page.wait_for_url("**/?host=web-1")
    expect(page.locator(".counts")).to_contain_text("3 alerts")
    page.get_by_text("Columns", exact=True).click()
    page.get_by_role("link", name="Hide Workload").press("Enter")
    expect(page.get_by_role("columnheader", name="Workload")).to_have_count(0)
    page.get_by_text("Saved views", exact=True).click()
    page.get_by_label("Name of what is shown").fill("Web <1>")
    page.keyboard.press("Enter")
    expect(page.locator("#status")).to_contain_text("Saved.")
    link = query(page.url)
    assert (link["host"], link["view"]) == ("web-1", "Web <1>")
    served.queue.put(recent(-1, rule="Later", hostname="web-1"))
    expect(page.locator(ROWS).first).to_contain_text("Later")
    expect(page.get_by_role("link", name="Web <1>", exact=True)).to_be_visible()
    page = one.open("/")
    page.get_by_text("Saved views", exact=True).click()
    page.get_by_role("link", name="Web <1>", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Web <1>")
    assert query(page.url) == link
    expect(page.get_by_role("columnheader", name="Workload")).to_have_count(0)
    page.get_by_text("Saved views", exact=True).click()
    page.get_by_role("button", name="Remove the view").click()
    expect(page.get_by_text("None yet.")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    assert download.value.suggested_filename == "lanner-groups.csv"
    assert "web-1" in download.value.path().read_text()


def test_a_digest_is_copied_and_leads_to_other_alerts_with_it(serve: Serve, visit: Visiting) -> None:
    """The page confirms it, or what to do where the browser doesn't allow it."""
    first, *others = several()
    event = {**first.event, "proc.exe.sha256": "5a" * 32, "proc.exe.origin": "dropped"}
    served = serve(alerts=[replace(first, event=event), *others])
    served.wait_for(12)
    page = visit(served).open(f"/alerts/{first.id}")
    page.get_by_role("button", name="Copy", exact=True).press("Enter")
    expect(page.locator("#status")).to_contain_text(re.compile("Copied|select the text"))
    page.get_by_role("link", name="alerts", exact=True).press("Enter")
    expect(page.locator(ROWS)).to_have_count(1)
