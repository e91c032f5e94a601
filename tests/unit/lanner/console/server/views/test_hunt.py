import json
import os
import time
from collections.abc import Sequence
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from lanner.console.hunts import HuntRequest, HuntSource
from lanner.settings import load_settings
from lanner.wiring.hunts import hunt_source
from lanner.wiring.stages.console import open_accounts
from tests.unit.lanner.console.alerts import soon
from tests.unit.lanner.console.events import read_at
from tests.unit.lanner.console.server.conftest import Serve
from tests.unit.lanner.console.server.running import HEADER, Served
from tests.unit.lanner.console.server.views.test_search import stream
from tests.unit.recordings import write_recording

RESULT = {"columns": [], "rows": [], "end": "complete", "seconds": 0.1}
ENDLESS = "echo $$ > PID; cat > /dev/null; echo '{}'"
"""A process that ends when its standard input is closed, and then reports this."""


class Processes:
    """Processes of the shell in place of hunts."""

    def __init__(self, folder: Path, text: str) -> None:
        self.pid = folder / "pid"
        self.folders: list[Path] = []
        self.requests: list[HuntRequest] = []
        self._text = text.replace("PID", str(self.pid))

    def __call__(self, request: HuntRequest, folder: Path) -> tuple[Sequence[str], bytes]:
        """Return the command."""
        self.requests.append(request)
        self.folders.append(folder)
        (folder / "rows.parquet").touch()
        return ["sh", "-c", self._text], b""

    def source(self, **options: Any) -> HuntSource:
        """Return a source whose hunts they are."""
        return HuntSource({"archive": "an archive", "topic": "the topic"}, self, **({"seconds": 60.0} | options))

    def is_running(self) -> bool:
        """Whether the last one runs."""
        try:
            os.kill(int(self.pid.read_text()), 0)
        except ProcessLookupError:
            return False
        return True


class Browser:
    """A request for a hunt."""

    def __init__(self, served: Served, token: str = "", **values: str) -> None:
        self._connection = HTTPConnection("127.0.0.1", served.port, timeout=30)
        headers = HEADER | ({"Authorization": f"Bearer {token}"} if token else {})
        body = json.dumps({"q": "proc.name = curl"} | values)
        self._connection.request("POST", "/api/hunt", body, headers=headers)
        self.answer = self._connection.getresponse()

    def close(self) -> None:
        """Close the connection."""
        self.answer.close()
        self._connection.close()


def shell(value: dict[str, Any]) -> str:
    """Return an endless process that reports a result when it is stopped."""
    return ENDLESS.replace("{}", json.dumps({"kind": "result", **value}))


def waiting(read: Any) -> Any:
    """Return what a function returns, once that is true."""
    for _ in soon():
        if value := read():
            return value
    raise AssertionError(read)


def test_a_hunt_in_a_recording_returns_a_table_and_a_histogram(serve: Serve, tmp_path: Path) -> None:
    """In a process of its own; secrets are masked, and the audit log has the beginning and the end."""
    now = time.time_ns()
    file = write_recording(tmp_path / "events.avro", read_at(now - 10**9, "</script> token=s3cret \u202e"))
    settings = load_settings(None, {}, [])
    served = serve(hunts=hunt_source(settings, file))
    body = {"q": "evt.type exists", "group_by": "fd.name", "since": "1h", "place": "recording"}
    name, value = stream(served.ask("/api/hunt", body, headers=HEADER).text)[-1]
    assert name == "result", value
    assert [row[:2] for row in value["rows"]] == [["</script> token=[redacted] \u202e", "1"]]
    assert (value["total"], sum(value["histogram"]["counts"]), value["end"]) == (1, 1, "complete")
    begun, ended = served.audit()[-2:]
    assert (begun["action"], begun["name"], json.loads(begun["value"])) == ("hunt", "local", body)
    assert (ended["action"], ended["subject"]) == ("hunt_ended", begun["subject"])
    assert ended["value"].startswith("all of it was read; 1 rows")


def test_opening_a_link_runs_nothing(serve: Serve, tmp_path: Path) -> None:
    """The page has the hunt, escaped; only a click of a person runs it."""
    processes = Processes(tmp_path, ENDLESS)
    served = serve(hunts=processes.source())
    page = served.ask("/hunt?q=a%0A%3Cscript%3E&language=sql&group_by=%22x&since=6h&host=web&place=topic")
    assert page.status == 200
    assert "a\n&lt;script&gt;</textarea>" in page.text
    assert 'value="&#34;x"' in page.text
    assert "Nothing was read yet" in page.text
    assert processes.requests == []
    assert served.ask("/hunt?language=perl").status == 400
    assert served.ask(f"/hunt?q={'x' * 4001}").status == 400


@pytest.mark.parametrize(
    "headers", [{}, {**HEADER, "Sec-Fetch-Site": "cross-site"}, {**HEADER, "Origin": "https://other.example.com"}]
)
def test_a_page_of_another_site_can_start_no_hunt(headers: dict[str, str], serve: Serve, tmp_path: Path) -> None:
    """Its requests lack the header, or state where they come from."""
    processes = Processes(tmp_path, ENDLESS)
    served = serve(hunts=processes.source())
    assert served.ask("/api/hunt", {"q": "proc.name = curl"}, headers=headers).status == 403
    assert served.ask("/api/hunt?q=proc.name+%3D+curl", headers=headers).status == 405
    assert processes.requests == []


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"q": 1},
        {"q": "x", "place": "/etc"},
        {"q": "x", "rare": "2"},
        {"q": "x", "rare": "0", "group_by": "y"},
        {"q": "x", "since": "never"},
        {"q": "x", "fields": ",".join(map(str, range(50)))},
        [],
    ],
)
def test_what_is_no_hunt_is_refused(body: Any, serve: Serve, tmp_path: Path) -> None:
    """Before anything runs."""
    processes = Processes(tmp_path, ENDLESS)
    served = serve(hunts=processes.source())
    assert served.ask("/api/hunt", body, headers=HEADER).status == 400
    assert processes.requests == []


def test_a_person_stops_a_hunt_and_gets_what_it_has_found(serve: Serve, tmp_path: Path) -> None:
    """By a request of that person alone; one hunt a person runs at once."""
    processes = Processes(tmp_path, shell(RESULT | {"end": "stopped", "rows": [["x"]]}))
    served = serve(hunts=processes.source())
    accounts = open_accounts(served.settings)
    alice, bob = ({"Authorization": f"Bearer {accounts.create_token(name, 'viewer', 0, 0)}"} for name in ("a", "b"))
    browser = Browser(served, alice["Authorization"].removeprefix("Bearer "), rare="2", group_by="fd.name")
    waiting(processes.pid.exists)
    assert served.ask("/api/hunt", {"q": "x"}, headers=alice).status == 429
    assert served.ask("/api/hunt/stop", {}, headers=bob).json == {"stopped": False}
    assert processes.is_running()
    assert served.ask("/api/hunt/stop", {}, headers=alice).json == {"stopped": True}
    assert stream(browser.answer.read().decode())[-1][1]["rows"] == [["x"]]
    browser.close()
    assert [each["value"] for each in served.audit() if each["action"] == "hunt_ended"] == [
        "it was stopped; 1 rows in 0.1 s"
    ]
    assert [(each.rare, each.group_by) for each in processes.requests] == [(2, ("fd.name",))]
    waiting(lambda: not processes.folders[0].exists())


def test_closing_the_browser_ends_the_process(serve: Serve, tmp_path: Path) -> None:
    """Also one that doesn't listen; its files are removed, and the person may hunt again."""
    processes = Processes(tmp_path, "echo $$ > PID; exec sleep 100")
    served = serve(hunts=processes.source())
    browser = Browser(served)
    waiting(processes.pid.exists)
    browser.close()
    waiting(lambda: not processes.is_running())
    waiting(lambda: not processes.folders[0].exists())
    waiting(lambda: served.audit()[-1]["action"] == "hunt_ended")
    assert served.audit()[-1]["value"] == "the browser went away"
    again = Browser(served)
    assert again.answer.status == 200
    again.close()


@pytest.mark.parametrize("text", ["true", "echo nonsense", "echo '[]'"])
def test_a_process_that_ends_without_a_result_is_reported(text: str, serve: Serve, tmp_path: Path) -> None:
    """For example because the kernel ended it."""
    served = serve(hunts=Processes(tmp_path, text).source())
    name, value = stream(served.ask("/api/hunt", {"q": "x"}, headers=HEADER).text)[-1]
    assert (name, "needed more memory" in value["error"]) == ("failed", True)
    assert served.audit()[-1]["value"].startswith("failed: the hunt's process ended")


def test_a_condition_is_saved_as_a_rule(serve: Serve, tmp_path: Path) -> None:
    """It is checked beside the console's rules; a viewer may copy it."""
    served = serve(hunts=Processes(tmp_path, ENDLESS).source())
    body = {"q": "evt.type = execve", "fields": "proc.exepath", "name": "My hunt"}
    made = served.ask("/api/hunt/rule", body, headers=HEADER)
    assert made.status == 200
    assert made.json["text"].startswith("- rule: My hunt\n")
    refused = served.ask("/api/hunt/rule", body | {"q": "proc.nme = x"}, headers=HEADER)
    assert (refused.status, refused.json["problems"][0]["hint"]) == (400, "did you mean 'proc.name'?")
    assert served.ask("/api/hunt/rule", body | {"language": "sql"}, headers=HEADER).status == 400


def test_a_console_without_events_or_libraries_reports_it(serve: Serve, tmp_path: Path) -> None:
    """On the page and in the API."""
    served = serve()
    assert "No events to hunt in" in served.ask("/hunt").text
    assert served.ask("/api/hunt", {"q": "x"}, headers=HEADER).status == 404
    served.stop()
    other = serve(hunts=Processes(tmp_path, ENDLESS).source(missing="install it"))
    assert "install it" in other.ask("/hunt").text
    assert other.ask("/api/hunt", {"q": "x"}, headers=HEADER).status == 404
