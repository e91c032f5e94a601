import json
import threading
import time
from collections.abc import Generator
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from bus.connection import BusUnavailable
from lanner.console.searches import MAX_IN_ALL, MAX_OF_ONE, SearchSource
from lanner.errors import BadInput
from lanner.recorder.recording import RecordingStore
from lanner.recorder.store import EventPortion, EventRange, Reading, Stop, StoredBatch
from lanner.wiring.stages.console import open_accounts
from processor.loading import RuleFile
from tests.unit.lanner.console.alerts import soon
from tests.unit.lanner.console.server.conftest import Serve
from tests.unit.lanner.console.server.running import Served
from tests.unit.recordings import shadow_read, write_recording

Q = "proc.name+%3D+cat"


def stream(text: str) -> list[tuple[str, Any]]:
    """Return the events of a stream."""
    parts = [part for part in text.split("\n\n") if part.startswith("event")]
    pairs = [part.split("\n") for part in parts]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in pairs]


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Return a recording of two hostile events of the last minutes."""
    batches = []
    for minutes in (2, 1):
        batch = shadow_read()
        batch.strings[3] = "/etc/<img src=x onerror=alert(1)>\u202e"
        batch.columns["time"][0] = time.time_ns() - minutes * 60 * 10**9
        batches.append(replace(batch, created=batch.columns["time"][0], hostname="</script><b>web"))
    return write_recording(tmp_path / "events.avro", *batches)


@pytest.fixture
def served(serve: Serve, recording: Path) -> Served:
    """Return a console that searches the recording."""
    return serve(search=SearchSource(RecordingStore(recording), "a recording"))


class EndlessEvents(RecordingStore):
    """Events that never end, slowly."""

    def __init__(self) -> None:
        super().__init__(Path())
        self.closed = threading.Event()

    def portions(self, events: EventRange, stop: Stop) -> Reading[EventPortion]:
        """Return one portion after the other."""

        def portions(reading: Reading[EventPortion]) -> Generator[EventPortion]:
            reading.total, reading.done = 2, 1
            try:
                while not stop():
                    time.sleep(0.02)
                    yield EventPortion(events.since, iter([StoredBatch(shadow_read(), 1000)]))
            finally:
                self.closed.set()

        return Reading(portions)


class AwayBroker(RecordingStore):
    """Events of a broker that is away."""

    def portions(self, events: EventRange, stop: Stop) -> Reading[EventPortion]:
        """Return nothing, because of an error."""
        del events, stop

        def portions(_: Reading[EventPortion]) -> Generator[EventPortion]:
            raise BusUnavailable("no answer from a broker", "check it")
            yield

        return Reading(portions)


class Browser:
    """A search for what is never found."""

    def __init__(self, served: Served, token: str = "") -> None:
        self._connection = HTTPConnection("127.0.0.1", served.port, timeout=30)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._connection.request("GET", "/api/search?q=proc.name+%3D+curl", headers=headers)
        self.answer = self._connection.getresponse()

    def close(self) -> None:
        """Close the connection."""
        self.answer.close()
        self._connection.close()


def test_events_that_match_are_streamed_newest_first(served: Served) -> None:
    """With their fields, progress, and why the search ended."""
    answer = served.ask(f"/api/search?q={Q}&since=1h")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/event-stream"
    parts = stream(answer.text)
    found = [event for name, value in parts if name == "found" for event in value["events"]]
    assert [event["fields"]["fd.name"] for event in found] == ["/etc/<img src=x onerror=alert(1)>\u202e"] * 2
    assert found[0]["time"] > found[1]["time"]
    name, end = parts[-1]
    assert (name, end["reason"], end["found"], end["looked_at"], end["older"]) == ("end", "complete", 2, 2, None)
    assert served.audit()[-1]["action"] == "search"
    assert "proc.name = cat" in served.audit()[-1]["value"]


def test_only_the_time_range_is_searched(served: Served) -> None:
    """By since and until of the address."""
    parts = stream(served.ask(f"/api/search?q={Q}&since=90s").text)
    assert parts[-1][1]["found"] == 1


def test_the_page_has_the_query_and_no_result(served: Served) -> None:
    """Results are added by the script, as text; the page escapes the query."""
    page = served.ask("/search?q=proc.name+%3D+%22%3Cscript%3E&since=6h")
    assert page.status == 200
    assert "<script>alert" not in page.text
    assert 'value="proc.name = &#34;&lt;script&gt;"' in page.text
    assert 'data-query="q=proc.name+%3D+%22%3Cscript%3E&amp;since=6h"' in page.text
    assert 'href="/search" data-go="s" aria-current="page"' in page.text


def test_a_condition_with_errors_is_refused_with_columns_and_hints(served: Served) -> None:
    """As rules validate shows them."""
    answer = served.ask("/api/search?q=evt.type+%3D+openat+and+proc.nme+%3D+cat")
    assert answer.status == 400
    (problem,) = answer.json["problems"]
    assert (problem["line"], problem["column"], problem["hint"]) == (1, 23, "did you mean 'proc.name'?")
    assert served.ask("/api/search?q=proc.name+%3D+cat&since=never").status == 400


def test_rule_files_that_are_missing_do_not_prevent_a_search(serve: Serve, recording: Path) -> None:
    """It warns that their macros are unknown."""

    def files() -> tuple[RuleFile, ...]:
        raise BadInput("the built-in rules are missing")

    served = serve(search=SearchSource(RecordingStore(recording), "a recording", files))
    end = stream(served.ask(f"/api/search?q={Q}").text)[-1][1]
    assert end["found"] == 2
    assert "the built-in rules are missing" in end["warnings"][0]["message"]


def test_a_console_without_events_reports_it(serve: Serve) -> None:
    """On the page and in the API."""
    served = serve()
    assert "No events to search" in served.ask("/search").text
    assert served.ask(f"/api/search?q={Q}").status == 404


def test_a_page_of_another_site_can_start_no_search(served: Served) -> None:
    """It would cost, though it can't read the answer."""
    headers = {"Sec-Fetch-Site": "cross-site"}
    assert served.ask(f"/api/search?q={Q}", headers=headers).status == 403


def test_a_broker_that_is_away_is_reported(serve: Serve) -> None:
    """The stream ends with the reason."""
    served = serve(search=SearchSource(AwayBroker(Path()), "a fleet"))
    assert stream(served.ask(f"/api/search?q={Q}").text)[-1] == (
        "failed",
        {"error": "no answer from a broker: check it"},
    )


def test_closing_the_browser_ends_its_search(serve: Serve) -> None:
    """The source is closed."""
    events = EndlessEvents()
    browser = Browser(serve(search=SearchSource(events, "events")))
    assert b"progress" in browser.answer.read1()
    browser.close()
    assert events.closed.wait(10)


def test_the_searches_of_a_person_are_limited(serve: Serve) -> None:
    """The next one is possible when one has ended; pages are served in the meantime."""
    events = EndlessEvents()
    served = serve(search=SearchSource(events, "events"))
    browsers = [Browser(served) for _ in range(MAX_OF_ONE)]
    assert [each.answer.status for each in browsers] == [200] * MAX_OF_ONE
    refused = served.ask("/api/search?q=proc.name+%3D+curl")
    assert refused.status == 429
    assert "of your searches" in refused.json["error"]
    began = time.monotonic()
    assert served.ask("/").status == 200
    assert time.monotonic() - began < 10
    browsers[0].close()
    for _ in soon():
        browsers.append(Browser(served))
        if browsers[-1].answer.status == 200:
            break
    for each in browsers:
        each.close()
    assert browsers[-1].answer.status == 200


def test_the_searches_of_all_people_are_limited(serve: Serve) -> None:
    """Whoever they are."""
    served = serve(search=SearchSource(EndlessEvents(), "events"))
    accounts = open_accounts(served.settings)
    tokens = [accounts.create_token(f"p{number}", "viewer", 0, 0) for number in range(MAX_IN_ALL // MAX_OF_ONE + 1)]
    browsers = [Browser(served, token) for token in tokens[:-1] for _ in range(MAX_OF_ONE)]
    assert [each.answer.status for each in browsers] == [200] * MAX_IN_ALL
    browsers.append(Browser(served, tokens[-1]))
    assert browsers[-1].answer.status == 429
    assert b"searches run already" in browsers[-1].answer.read()
    for each in browsers:
        each.close()


def test_a_console_stops_while_searches_run(serve: Serve) -> None:
    """They end with it."""
    events = EndlessEvents()
    served = serve(search=SearchSource(events, "events"))
    browser = Browser(served)
    served.stop()
    assert events.closed.wait(5)
    browser.close()
