"""An alert's story in a browser: drawn from a recording, read again, copied and exported."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import expect

from lanner.recorder.recording import read_incident
from tests.browser.conftest import Serve, Visiting
from tests.unit.lanner.console.server.running import Served
from tests.unit.lanner.console.server.views.test_story import recorded
from tests.unit.lanner.recorder.hosts import SECOND, alert_far, alert_near, far, near
from tests.unit.lanner.recorder.tree.incident import TIME

NAMES = ", ".join(f"name{number}" for number in range(90))
RULES = f"""
- rule: Shadow was read
  desc: x
  condition: evt.type = openat and fd.name = /etc/shadow and not proc.name in ({NAMES})
  output: read %fd.name
  priority: WARNING
"""
HOSTILE = "<img src=x onerror=alert(1)>\u202e"
PATH = f"/alerts/{alert_far().id}"


@pytest.fixture
def served(serve: Serve, tmp_path: Path) -> Served:
    """Return a console with a recording of two hosts, one of which has a program with a hostile name."""
    (tmp_path / "rules.yaml").write_text(RULES)
    there = far()
    there.processes[3].args = (HOSTILE,)
    archive = recorded(tmp_path / "kept", near(), there)
    flag = f"rules_files=[{tmp_path}/rules.yaml]"
    seen = alert_far()
    seen = replace(seen, event={**seen.event, "proc.cmdline": "cat /etc/shadow"})
    made = serve(flag, alerts=[alert_near(), seen], events=archive, clock=lambda: TIME + 3600 * SECOND)
    made.wait_for(2)
    return made


def test_the_processes_of_both_hosts_are_drawn(served: Served, visit: Visiting) -> None:
    """The event of the alert is marked, the other alert is a link, and texts of an attacker are text."""
    page = visit(served).open(PATH)
    expect(page.locator(".host h3")).to_have_text(["db-1", "web-1"])
    expect(page.locator(".host").first.locator(".trigger")).to_contain_text("open /etc/shadow")
    expect(page.locator(".host").first).to_contain_text("<img src=x onerror=alert(1)>\\u202e")
    page.locator(".tree").get_by_role("link", name="Key was read").click()
    expect(page.locator("h1")).to_contain_text("Key was read")


def test_the_facts_are_first_and_stay_when_the_story_comes(served: Served, visit: Visiting) -> None:
    """What happened in one line, facts, what to do, why; the story is below them, with its own search."""
    page = visit(served).open(PATH)
    before = page.locator("h2").first.bounding_box()
    expect(page.locator(".fact")).to_have_text("cat opened /etc/shadow, on db-1")
    expect(page.locator(".trigger").first).to_be_visible()
    assert page.locator("h2").first.bounding_box() == before
    assert page.locator("h2").first.text_content() == "Facts"
    tops = [
        page.get_by_role("heading", name=name).bounding_box() for name in ("Facts", "Why the rule", "What happened")
    ]
    assert tops == sorted(tops, key=lambda box: box["y"] if box else 0)
    expect(page.locator(".axis .this")).to_have_count(1)
    page.keyboard.press("/")
    page.keyboard.type("SHADOW")
    expect(page.locator(".find [role=status]")).to_contain_text("1 line;")
    page.keyboard.press("Enter")
    expect(page.locator(".current")).to_contain_text("/etc/shadow")
    page.get_by_role("button", name="Jump to this alert").click()
    expect(page.locator(".trigger").first).to_be_focused()


def test_another_time_is_read_by_keyboard(served: Served, visit: Visiting) -> None:
    """A change of the list reads again; live updates leave what was read."""
    page = visit(served).open(PATH)
    expect(page.locator(".tree").first).to_be_visible()
    page.get_by_label("Before").focus()
    with page.expect_request(lambda request: "before=10m" in request.url):
        page.keyboard.press("ArrowDown")
    expect(page.locator(".trigger").first).to_be_visible()
    marker = "document.querySelector('.tree').dataset.marker"
    page.evaluate(f"{marker} = 'kept'")
    page.locator("#comment").fill("seen")
    page.get_by_role("button", name="Add comment").click()
    expect(page.locator("blockquote")).to_have_text("seen")
    assert page.evaluate(marker) == "kept"


def test_the_parts_open_by_keyboard_and_can_be_copied(served: Served, visit: Visiting) -> None:
    """The explained condition, a rule test, and an exception for other fields."""
    one = visit(served, permissions=["clipboard-read", "clipboard-write"])
    page = one.open(PATH)
    for title, shown in (
        ("Why the rule matched", "fd.name = /etc/shadow"),
        ("Copy as a rule test", "NAME_test.yaml"),
        ("Propose an exception", "It would have quieted"),
    ):
        page.get_by_role("heading", name=title).locator("..").focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name=title).locator("../..")).to_contain_text(shown)
    checks = page.locator("[data-kind=explanation] .tree")
    folded = checks.get_by_text("82 more")
    assert "name7, …" in checks.locator("code", has_text="proc.name in").inner_text()
    expect(checks.get_by_text("name89")).to_be_hidden()
    folded.press("Enter")
    expect(checks.get_by_text("name89")).to_be_visible()
    part = page.locator("[data-kind=exception]")
    part.get_by_role("button", name="Copy").click()
    assert "- rule: Shadow was read" in page.evaluate("navigator.clipboard.readText()")


def test_without_a_proposal_somebody_chooses_the_fields(served: Served, visit: Visiting) -> None:
    """The alert doesn't name its program."""
    page = visit(served).open(f"/alerts/{alert_near().id}")
    part = page.locator("[data-kind=exception]")
    part.locator("summary").click()
    expect(part).to_contain_text("Nothing is proposed")
    part.get_by_label("fd.name").check()
    expect(part).to_contain_text("It would have quieted 1 of 1")


def test_a_choice_that_is_refused_can_be_taken_back(served: Served, visit: Visiting) -> None:
    """A command line alone excuses nothing; the proposal can be read again."""
    one = visit(served)
    page = one.open(PATH)
    part = page.locator("[data-kind=exception]")
    part.locator("summary").click()
    part.get_by_label("fd.name").click()
    expect(part.get_by_label("fd.name")).not_to_be_checked()
    expect(part).to_contain_text("It would have quieted")
    part.get_by_label("proc.codepath").click()
    expect(part).to_contain_text("choose a path or an image beside it")
    part.get_by_role("button", name="Read again").click()
    expect(part.get_by_label("proc.codepath")).to_be_checked()
    one.problems.clear()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_story_fits_a_phone(scheme: str, served: Served, visit: Visiting) -> None:
    """With all parts open."""
    one = visit(served, viewport={"width": 360, "height": 800}, color_scheme=scheme)
    page = one.open(PATH)
    expect(page.locator(".trigger").first).to_be_visible()
    for summary in page.locator("details.part > summary").all():
        summary.click()
    expect(page.locator("[data-kind=exception]")).to_contain_text("It would have quieted")
    assert not one.is_wider_than_the_window()


def test_an_incident_is_saved(served: Served, visit: Visiting, tmp_path: Path) -> None:
    """As the file that commands take."""
    page = visit(served).open(PATH)
    expect(page.locator(".trigger").first).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="Export incident").click()
    path = tmp_path / "saved.avro"
    download.value.save_as(path)
    header = read_incident(path)
    assert header is not None
    assert "Shadow was read" in json.dumps(header)
