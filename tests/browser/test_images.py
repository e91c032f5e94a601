import os
import re
import runpy
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import expect

from lanner.console.story.reading import EventArchive
from lanner.recorder.recording import RecordingStore
from lanner.recorder.rolling import RollingRecording
from schemas.encoding.recording import read_recording
from tests.browser.conftest import Serve, Visiting
from tests.browser.consoles import MINUTE
from tests.browser.visits import Visit, settled
from tests.unit.lanner.console.server.running import HEADER, Served

FOLDER = Path("docs/images")
ACTIONS = Path("rules/acts.avro")
MOST = 100_000
"""Bytes of an image."""
WIDE: dict[str, Any] = {"viewport": {"width": 1000, "height": 600}, "timezone_id": "Europe/Berlin", "locale": "en-GB"}
PHONE = WIDE | {"viewport": {"width": 360, "height": 760}, "color_scheme": "dark"}
OVERVIEW = WIDE | {"viewport": {"width": 1000, "height": 500}}
TALL = WIDE | {"viewport": {"width": 860, "height": 560}}
STORY, HOST = "Launch Package Management Process in Container", "web-1.example.com"


@pytest.fixture
def served(serve: Serve, tmp_path: Path) -> Served:
    """Return a console with what `make console` shows, at the time of the recording."""
    script = runpy.run_path("deploy/setup/console_alerts.py")
    now = max(batch.created for batch in read_recording(ACTIONS)) + MINUTE
    batches = script["recorded"](now)
    recorded = script["alerts_of"](batches)
    folder = tmp_path / "events"
    recording = RollingRecording(folder, 64 << 20, on_error=print)
    for batch in batches:
        recording.store(batch)
    recording.close()
    alerts = [*script["spread"](recorded, now), *recorded]
    archive = EventArchive(RecordingStore(folder), "They are retained for a day.")
    made = serve(alerts=alerts, events=archive, clock=lambda: now)
    made.wait_for(len(alerts))
    for group, action, value in zip(
        made.ask("/api/groups").json["groups"][1:4], ("assign", "assign", "mute"), ("alice", "bob", "8h"), strict=True
    ):
        body = {"subject": f"group:{group['key']}", "action": action, "value": value}
        assert made.ask("/api/marks", body, headers=HEADER).status == 200
    return made


def save(visit: Visit, served: Served, name: str, path: str) -> None:
    """Make an image of a page at the time of the console; with LANNER_IMAGES, it is written for the docs."""
    visit.page.clock.set_fixed_time(served.clock() / 1e6)
    settled(visit.open(path)).evaluate("location.hash && document.querySelector(location.hash).scrollIntoView()")
    data = visit.page.screenshot(animations="disabled")
    assert len(data) < MOST
    if "LANNER_IMAGES" in os.environ:
        FOLDER.mkdir(exist_ok=True)
        (FOLDER / f"{name}.png").write_bytes(data)


def test_images_of_the_docs_are_made_of_recorded_alerts(served: Served, visit: Visiting) -> None:
    """The list, on a wide screen and on a phone, the overview, an alert, and its story, which unfolds."""
    found = served.ask(f"/api/alerts?rule={quote(STORY)}&since=5m").json["alerts"]
    story = next(alert["id"] for alert in found if alert["host"] == HOST)
    save(visit(served, **WIDE), served, "console-alerts", "/")
    save(visit(served, **PHONE), served, "console-phone", "/")
    save(visit(served, **OVERVIEW), served, "console-overview", "/overview?seen=3h")
    save(visit(served, **WIDE), served, "console-alert", f"/alerts/{story}")
    one = visit(served, **TALL)
    save(one, served, "console-story", f"/alerts/{story}#story")
    folded = one.page.locator(".more:not([open])")
    assert folded.count()
    one.page.get_by_role("button", name="Unfold all").click()
    expect(folded).to_have_count(0)


def test_every_image_is_shown_and_small() -> None:
    """Each is on the console's page, with words for those who can't see it."""
    page = Path("docs/console.md").read_text()
    images = list(FOLDER.glob("*.png"))
    assert images
    for image in images:
        assert image.stat().st_size < MOST
        assert re.search(rf"!\[[^]]{{20,}}\]\(images/{image.name}\)", page)
