"""A real console on a port: view, feed, files, sign-in and HTTP server."""

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

from foundation.text import ignore_note
from lanner.console.actions import ActionSource
from lanner.console.feed_files import LineFile, LocalAlerts, MarkFile
from lanner.console.fleet.ports import FilesOnly, FleetSource
from lanner.console.hunts import HuntSource
from lanner.console.pipeline import PipelineSource
from lanner.console.searches import SearchSource
from lanner.console.story.reading import EventArchive
from lanner.console.story.rules import RuleBook
from lanner.settings import load_settings
from lanner.wiring.rules import find_rules
from lanner.wiring.stages.console import AUDIT, MARKS, NO_EVENTS, RunningConsole
from schemas.alert import Alert
from schemas.catalog.priorities import BY_NAME
from tests.unit.lanner.console.alerts import soon

HEADER = {"X-Lanner-Request": "test"}


@dataclass
class Answer:
    """An answer with its body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Served:
    """A console, and requests to it."""

    def __init__(
        self,
        folder: Path,
        *flags: str,
        alerts: Iterable[Alert] | LocalAlerts = (),
        listen: str = "127.0.0.1:0",
        search: SearchSource | None = None,
        hunts: HuntSource | None = None,
        events: EventArchive = NO_EVENTS,
        fleet: FleetSource | None = None,
        pipeline: PipelineSource | None = None,
        actions: ActionSource | None = None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """Start it with settings, such as console.tokens=false."""
        self.folder = folder
        self.clock = clock
        self.queue = alerts if isinstance(alerts, LocalAlerts) else LocalAlerts(alerts)
        self.settings = load_settings(None, {}, [f"console.state_dir={folder}", *flags])
        self.fleet = fleet or FilesOnly(
            BY_NAME[self.settings.priority], RuleBook(partial(find_rules, self.settings)).rules
        )
        self.console = RunningConsole(
            self.settings,
            folder,
            source=lambda _: self.queue,
            marks=lambda: MarkFile(folder / MARKS),
            audit=lambda: LineFile(folder / AUDIT),
            search=search,
            hunts=hunts,
            fleet=self.fleet,
            pipeline=pipeline,
            actions=actions,
            described="this host",
            events=events,
            note=ignore_note,
            listen=listen,
            clock=clock,
        )
        self.port = self.console.port

    def ask(self, path: str, body: Any = None, *, method: str = "", headers: dict[str, str] | None = None) -> Answer:
        """Make a request; a body that is not bytes is sent as JSON."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        connection.request(method or ("GET" if data is None else "POST"), path, data, headers or {})
        answer: HTTPResponse = connection.getresponse()
        found = Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        connection.close()
        return found

    def wait_for(self, count: int) -> None:
        """Wait until the console has taken so many alerts."""
        for _ in soon():
            if self.console.taken >= count:
                return
        raise AssertionError(f"{self.console.taken} of {count} alerts were taken")

    def audit(self) -> list[dict[str, Any]]:
        """Return the audit log."""
        return [json.loads(line) for line in (self.folder / AUDIT).read_text().splitlines()]

    def stop(self) -> None:
        """Stop it, unless it was."""
        if not self.console.is_alive:
            return
        began = time.monotonic()
        self.console.stop()
        assert time.monotonic() - began < 8
