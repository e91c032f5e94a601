"""The parts of the console that every request handler uses."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp import web

from foundation.connections import address_group
from foundation.http_server import CONNECTION
from lanner.console.accounts import Identity
from lanner.console.actions import ActionDesk
from lanner.console.feed import Action, AuditLog, ViewFeed
from lanner.console.fleet.ports import FleetSource
from lanner.console.hunts import HuntDesk
from lanner.console.pipeline import PipelineDesk
from lanner.console.searches import SearchDesk
from lanner.console.server.live import LiveHub
from lanner.console.sign_in import SignIn
from lanner.console.store.reading import AlertReader
from lanner.console.story.reading import StoryReader
from lanner.console.story.rules import RuleBook
from lanner.console.workers import RecentAnswers, SlowReadings
from lanner.ruleset.active import ActiveRules
from schemas.alert import Alert

WriteTest = Callable[[Alert, ActiveRules], str]
"""Returns a test case as the text of a test file. Raises BadInput if the alert lacks what that needs."""


@dataclass(frozen=True, slots=True)
class StoryParts:
    """Readers and writers of a console."""

    reader: StoryReader
    rules: RuleBook
    write_test: WriteTest
    siem_url: str = ""
    """Template of the address of an alert in a SIEM; empty for none."""


@dataclass(frozen=True, slots=True)
class Console:
    """The parts of a console that serves."""

    reader: AlertReader
    fleet: FleetSource
    """Knows hosts and rules."""
    feed: ViewFeed
    """Fills the view, and stores marks."""
    audit: AuditLog
    sign_in: SignIn
    story: StoryParts
    is_secure: bool = False
    """True if browsers reach it by HTTPS."""
    hosts: frozenset[str] = frozenset()
    """Names and ports by which browsers may address it, lower case; empty for any."""
    origin: str = ""
    """Its origin in browsers; empty if the request's Host is its origin."""
    source: str = ""
    """Where the alerts come from, in words."""
    is_recording: bool = False
    """True if they are of a recording that has ended."""
    search: SearchDesk | None = None
    """Searches events; None if there are none."""
    hunts: HuntDesk | None = None
    """Hunts in an archive, a topic or a recording; None if there is none."""
    actions: ActionDesk | None = None
    """Shows and decides about actions; None for a recording that has ended."""
    pipeline: PipelineDesk | None = None
    """Reads queues and dead letters; None if there are none."""
    clock: Callable[[], int] = time.time_ns
    hub: LiveHub = field(default_factory=LiveHub)
    recent: RecentAnswers = field(default_factory=RecentAnswers)
    slow: SlowReadings = field(default_factory=SlowReadings)
    silent_seconds: int = 120
    """A host that sent nothing for this long is silent."""
    stuck_seconds: float = 60
    """A feed without an iteration for this long hangs."""
    answered: Counter[int] = field(default_factory=Counter)
    """Requests by status."""

    async def record(
        self, request: web.Request, who: Identity, action: str, subject: str = "", value: str = ""
    ) -> None:
        """Record an action in the audit log. Raises OSError."""
        entry = Action(self.clock(), who.name, who.role, who.method, client_address(request), action, subject, value)
        await asyncio.to_thread(self.audit.record, entry)


_MAX_ADDRESS = 64
CONSOLE = web.AppKey("console", Console)
IDENTITY = web.RequestKey("identity", Identity)
"""Set by the middleware if somebody is signed in."""
CLIENT = web.RequestKey("client", str)
"""The key of a client for limits: a person who is signed in, else a user of this host, or an address."""
VERSION = web.RequestKey("version", int)
"""`LiveHub.version` when the request came; a page that shows it is at least as new."""


def console(request: web.Request) -> Console:
    """Return the console that a request is for."""
    return request.app[CONSOLE]


def client_address(request: web.Request) -> str:
    """Return the client's address: as a proxy of the list states it, else the other end of the connection."""
    address = peer_address(request)
    if not console(request).sign_in.is_proxy(address):
        return address
    # The proxy appends the address that it sees; what precedes it is the client's own claim.
    return request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()[:_MAX_ADDRESS] or address


def client_group(request: web.Request) -> str:
    """Return whose connection it is: of a user of this host, or of an address."""
    address = client_address(request)
    return request[CONNECTION].group if address == peer_address(request) else address_group(address)


def peer_address(request: web.Request) -> str:
    """Return the address of the other end of the connection."""
    peer = request.transport.get_extra_info("peername") if request.transport is not None else None
    return str(peer[0]) if isinstance(peer, tuple) else ""
