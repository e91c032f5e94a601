import socket
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lanner.console.story.reading import EventArchive
from lanner.recorder.around.source import EventSpan
from lanner.recorder.batches import StoredBatch
from lanner.recorder.rolling.events import RecordingHistory
from lanner.recorder.rolling.recording import RollingRecording
from schemas.alert import Alert, alert_id
from schemas.batch import EventBatch
from tests.unit.alerts import TIME, alert
from tests.unit.lanner.console.alerts import soon
from tests.unit.lanner.console.server.conftest import Serve
from tests.unit.lanner.console.server.running import Served
from tests.unit.recordings import shadow_read

IDENTITY = alert_id(TIME, "Shadow", "1", "1", 1, 2, 0)
PATH = f"/api/alerts/{IDENTITY}/story"


def shadow(**facts: Any) -> Alert:
    """Return the alert of the recorded read."""
    given = {"id": IDENTITY, "host_id": "1", "event": {"evt.num": 1, "proc.pid": 4711}, **facts}
    return alert(**given)


def recorded(folder: Path, *batches: EventBatch) -> EventArchive:
    """Return a recording as `lanner run` writes it."""
    recording = RollingRecording(folder, 8 << 20, on_error=print)
    for batch in batches:
        recording.store(batch)
    recording.close()
    return EventArchive(RecordingHistory(folder), "They are retained for a day.")


@pytest.fixture
def served(serve: Serve, tmp_path: Path) -> Served:
    """Return a console with a recording and its alerts."""
    batch = replace(shadow_read(), watched=["openat"], narrowed=["execve"], lost={"events_ring_full": 3})
    other = shadow(id="other", rule="Other\u202erule", time=TIME + 5_000_000, event={"evt.num": 77})
    made = serve("console.max_days=30000", alerts=[shadow(), other], events=recorded(tmp_path / "kept", batch))
    made.wait_for(2)
    return made


def test_a_story_is_the_tree_of_the_process_with_its_alerts_in_place(served: Served) -> None:
    """Parents by place, the event of the alert marked, alerts without an event listed, texts made visible."""
    story = served.ask(PATH).json
    (tree,) = story["trees"]
    assert [(each["name"], each["pid"], each["parent"], each["command"]) for each in tree["processes"]] == [
        ("bash", 4000, -1, "bash"),
        ("cat", 4711, 0, "cat /etc/shadow"),
    ]
    (step,) = tree["processes"][1]["steps"]
    assert (step["verb"], step["target"], step["is_trigger"]) == ("open", "/etc/shadow", True)
    assert [(each["id"], each["is_this"]) for each in step["alerts"]] == [(IDENTITY, True)]
    assert [each["rule"] for each in tree["alerts"]] == ["Other\\u202erule"]
    assert story["is_found"]


def test_a_story_states_what_was_not_collected(served: Served) -> None:
    """The event types that were sent, in part or not at all, and the losses."""
    (host,) = served.ask(PATH).json["collected"]
    assert host["lost"] == 3
    assert "Collected in full: openat. No other event types were collected." in host["sentences"]
    assert "Collected only if a rule at that time could match: execve." in host["sentences"]
    assert "3 events were lost (events_ring_full: 3)." in host["sentences"]


def test_a_host_without_events_of_that_time_gets_a_hint(serve: Serve, tmp_path: Path) -> None:
    """How long they are retained, and what the recording has."""
    served = serve(alerts=[shadow(host_id="9", time=time.time_ns())], events=recorded(tmp_path / "kept", shadow_read()))
    served.wait_for(1)
    story = served.ask(PATH).json
    assert story["trees"] == story["collected"] == []
    assert any(text.startswith("The recording is from ") for text in story["remarks"])
    assert story["remarks"][-1] == (
        "No events of web-3 at this time are retained, so what happened is unknown. They are retained for a day."
    )


@pytest.mark.parametrize(
    ("query", "status"),
    [("?before=1h&after=1s", 200), ("?before=2h", 400), ("?after=never", 400), ("?before=-1s", 400)],
)
def test_the_time_is_limited(query: str, status: int, served: Served) -> None:
    """To an hour before and after."""
    assert served.ask(PATH + query).status == status


class EndlessEvents:
    """A source that never ends by itself."""

    def __init__(self) -> None:
        self.active = 0
        self.most = 0
        self._lock = threading.Lock()

    def batches(
        self, span: EventSpan, host: str | None, remarks: list[str], stop: Callable[[], bool]
    ) -> Generator[StoredBatch]:
        """Yield one batch, then wait until the reader wants no more."""
        del span, host, remarks
        with self._lock:
            self.active += 1
            self.most = max(self.most, self.active)
        try:
            yield StoredBatch(shadow_read(), TIME // 1_000_000)
            while not stop():
                time.sleep(0.01)
        finally:
            with self._lock:
                self.active -= 1


def test_a_reading_ends_when_its_client_goes_away(serve: Serve) -> None:
    """A few run at once; pages are still served; too many are refused."""
    source = EndlessEvents()
    served = serve("console.max_days=30000", alerts=[shadow()], events=EventArchive(source, ""))
    served.wait_for(1)
    clients = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(20)]
    for client in clients:
        client.sendall(f"GET {PATH} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    for _ in soon():
        if source.active == 4:
            break
    refused = served.ask(PATH)
    assert refused.status == 503
    assert "Many people" in refused.json["error"]
    assert served.ask("/api/groups").status == 200
    for client in clients:
        client.close()
    for _ in soon():
        if source.active == 0:
            break
    assert (source.active, source.most) == (0, 4)
