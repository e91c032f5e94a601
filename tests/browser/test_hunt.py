import json
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from lanner.settings import load_settings
from lanner.wiring.hunts import hunt_source
from schemas.batch import EventBatch
from tests.browser.conftest import Serve, Visiting
from tests.browser.consoles import SECOND
from tests.browser.test_accessibility import findings
from tests.unit.lanner.console.events import read_at
from tests.unit.lanner.console.server.running import Served
from tests.unit.recordings import write_recording

ENDLESS = "WITH n AS (SELECT unnest(range(100000)) AS a) SELECT sum(x.a * y.a % 7 + z.a) FROM n AS x, n AS y, n AS z"
HOSTILE = "/tmp/<img src=x onerror=alert(1)>\u202e"


def opened(at: int, name: str, host: str) -> EventBatch:
    """Return a batch of one opened file."""
    batch = read_at(at)
    batch.strings[3] = name
    return replace(batch, hostname=host, host_id=host)


@pytest.fixture
def served(serve: Serve, tmp_path: Path) -> Served:
    """Return a console that hunts in a recording of four events on three hosts."""
    now = time.time_ns()
    names = ("/etc/shadow", "/etc/shadow", "/etc/shadow", HOSTILE)
    batches = [
        opened(now - (4 - number) * 60 * SECOND, name, f"web-{min(number, 2)}") for number, name in enumerate(names)
    ]
    file = write_recording(tmp_path / "events.avro", *batches)
    return serve(hunts=hunt_source(load_settings(None, {}, []), file))


def hunt(page: Page) -> None:
    """Press the button, and wait until the hunt has ended."""
    page.get_by_role("button", name="Hunt", exact=True).click()
    ended(page)


def ended(page: Page) -> None:
    """Wait until the hunt has ended."""
    expect(page.locator("#found .counts, #problems .problem").first).to_be_visible(timeout=60_000)


def test_a_person_hunts_stacks_narrows_stops_and_shares(served: Served, visit: Visiting) -> None:
    """A link runs nothing; a condition, a stack, one of its groups, SQL that reads a file, SQL that is stopped."""
    one = visit(served, viewport={"width": 360, "height": 800}, color_scheme="dark")
    page = one.open("/hunt?q=evt.type+exists&place=recording")
    expect(page.get_by_text("Nothing was read yet")).to_be_visible()
    assert not any(each["action"] == "hunt" for each in served.audit())
    hunt(page)
    rows = page.locator("table.hunted tbody tr")
    expect(rows).to_have_count(4)
    expect(rows.first).to_contain_text("/tmp/<img src=x onerror=alert(1)>\\u202e")
    expect(page.locator(".histogram svg")).to_have_attribute("aria-label", re.compile("4 in all"))
    assert not one.is_wider_than_the_window()
    assert findings(one) == ""
    page.set_viewport_size({"width": 1280, "height": 800})

    page.get_by_role("button", name="fd.name", exact=True).click()
    expect(rows.first).to_contain_text("onerror")
    expect(rows).to_have_count(2)
    assert "group_by=fd.name" in page.url
    assert findings(one) == ""
    page.get_by_label("In at most").fill("1")
    hunt(page)
    expect(rows).to_have_count(1)
    rows.first.get_by_role("button").press("Enter")
    expect(page.get_by_role("columnheader", name="proc.cmdline")).to_be_visible(timeout=60_000)
    expect(rows).to_have_count(1)
    expect(page.get_by_label("Condition or SQL")).to_have_value(re.compile(r"^\(evt.type exists\) and fd.name = "))

    page.locator("summary", has_text="Save as a rule").click()
    page.get_by_label("Name of the rule").fill("Opened odd file")
    page.get_by_label("Name of the rule").press("Enter")
    expect(page.get_by_label("Rule", exact=True)).to_have_value(re.compile("^- rule: Opened odd file\n"))

    page.get_by_label("SQL over the views").check()
    page.get_by_label("Condition or SQL").fill("SELECT * FROM read_text('/etc/shadow')")
    hunt(page)
    expect(page.locator("#problems")).to_contain_text("not one of the views")
    link = page.url
    page.get_by_label("Condition or SQL").fill(ENDLESS)
    page.get_by_role("button", name="Hunt", exact=True).click()
    page.get_by_role("button", name="Stop").click()
    ended(page)
    expect(page.locator("#problems")).to_contain_text("stopped before the query was done")

    page = one.open(link.removeprefix(one.address))
    expect(page.get_by_label("Condition or SQL")).to_have_value("SELECT * FROM read_text('/etc/shadow')")
    expect(page.get_by_label("SQL over the views")).to_be_checked()
    log = [(each["action"], each["value"]) for each in served.audit()]
    assert [action for action, _ in log] == ["hunt", "hunt_ended"] * 6
    assert json.loads(log[2][1]) == {"q": "evt.type exists", "group_by": "fd.name", "place": "recording"}
    assert json.loads(log[8][1]) == {
        "q": "SELECT * FROM read_text('/etc/shadow')", "language": "sql", "place": "recording"
    }  # fmt: skip
    assert "not one of the views" in log[9][1]
    assert log[11][1] == "failed: stopped before the query was done."
