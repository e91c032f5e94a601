"""The console that the settings describe."""

import ipaddress
import os
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from foundation.files import open_private
from foundation.http_server import HttpLimits, HttpThread
from foundation.sqlite import DatabaseUnusable
from foundation.text import OnNote
from lanner.console.accounts import Accounts, ListedToken, read_listed
from lanner.console.actions import ActionDesk, ActionSource
from lanner.console.feed import AlertSource, AuditLog, MarkLog, ViewFeed
from lanner.console.fleet.ports import FleetSource
from lanner.console.hunts import HuntDesk, HuntSource
from lanner.console.pipeline import PipelineDesk, PipelineSource
from lanner.console.searches import SearchDesk, SearchSource
from lanner.console.server.app import application
from lanner.console.server.context import Console, StoryParts
from lanner.console.server.guard import CALLBACK
from lanner.console.sign_in import OpenIdClient, OpenIdProvider, Proxy, SignIn
from lanner.console.store.reading import AlertReader
from lanner.console.store.view import AlertView, ViewLimits
from lanner.console.story.reading import EventArchive, StoryReader
from lanner.console.story.rules import RuleBook
from lanner.errors import BadInput, or_bad_input
from lanner.recorder.rolling import lock_file
from lanner.ruleset.active import ActiveRules
from lanner.settings import Settings
from lanner.settings.faults import BadSettings, SettingFault
from lanner.settings.forms import is_loopback
from lanner.settings.sections.services import ConsoleSettings
from lanner.wiring.freshness import limits_of
from lanner.wiring.kafka import secret
from lanner.wiring.rules import find_rules
from lanner.wiring.servers import address, server_context
from processor.output.redaction import Redaction
from schemas.alert import Alert


def story_parts(settings: Settings, alerts: AlertReader, archive: EventArchive) -> StoryParts:
    """Return the parts. alerts: the view. archive: the retained events."""
    reader = StoryReader(archive, alerts, Redaction(settings.redact))
    return StoryParts(reader, RuleBook(partial(find_rules, settings)), _write_test, settings.console.siem_url or "")


def _write_test(alert: Alert, rules: ActiveRules) -> str:
    # Imported here, because `lanner run` without a console does without it.
    from lanner.ruletest.generate import case_of_alert
    from lanner.ruletest.given import GivenAlert

    return case_of_alert(GivenAlert(alert.rule, alert.priority, alert.stated), rules)


PEOPLE = "people.db"
"""File in console.state_dir."""


def open_accounts(settings: Settings, folder: Path | None = None) -> Accounts:
    """Open the tokens and sessions of this host's console. Raises BadInput."""
    folder = folder or Path(settings.console.state_dir)
    try:
        with or_bad_input(f"console.state_dir: {folder}"):
            _give_to_owner(folder)
            return Accounts(folder / PEOPLE, settings.console.session_hours * 3600)
    except DatabaseUnusable as error:
        raise BadInput(f"console.state_dir: {error}.") from None


def listed_tokens(file: str | None, problems: list[SettingFault]) -> Sequence[ListedToken]:
    """Return the tokens of a file; add errors to problems."""
    if not file:
        return ()
    try:
        return read_listed(Path(file).read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        why = "not UTF-8"
    except OSError as error:
        why = error.strerror or str(error)
    except ValueError as error:
        why = str(error)
    problems.append(SettingFault("console.tokens_file", f"console.tokens_file: {file}: {why}."))
    return ()


def set_listed(accounts: Accounts, listed: Sequence[ListedToken]) -> None:
    """Make the tokens of a file valid, and end those that it doesn't have any longer. Raises BadInput and OSError."""
    try:
        accounts.set_listed(listed, int(time.time()))
    except ValueError as error:
        raise BadInput(f"console.tokens_file: {error}; `lanner console token list` shows all.") from None


def _give_to_owner(folder: Path) -> None:
    """Create the file, for root in the folder of a service's user, so that this user can open it. Raises OSError.

    SQLite gives the files beside it to the same owner.
    """
    file = folder / PEOPLE
    if os.geteuid() != 0 or not folder.is_dir() or file.exists():
        return
    owner = folder.stat()
    descriptor = open_private(file, os.O_RDWR | os.O_EXCL)
    try:
        os.fchown(descriptor, owner.st_uid, owner.st_gid)
    finally:
        os.close(descriptor)


VIEW, MARKS, AUDIT = "alerts.db", "marks.jsonl", "audit.jsonl"
"""Files in console.state_dir."""
NO_EVENTS = EventArchive(None, "This console has no events to read.")
_ANY_AGE = 36_500
"""Days."""
_LIMITS = HttpLimits(connections=512)


@dataclass(frozen=True, slots=True)
class ConsoleParts:
    """The console's settings, checked."""

    context: ssl.SSLContext | None
    proxy: Proxy | None
    provider: OpenIdClient | None
    listed: Sequence[ListedToken]
    """Tokens of a file."""


def console_parts(settings: Settings, environment: Mapping[str, str] = os.environ) -> ConsoleParts:
    """Check the settings of the console. Raises BadSettings."""
    section = settings.console
    problems: list[SettingFault] = []
    context = server_context("console", section, problems)
    networks = []
    for text in section.proxy_addresses:
        try:
            networks.append(ipaddress.ip_network(text))
        except ValueError:
            fault = f"console.proxy_addresses: {text!r} must be an address or a network, such as 10.1.0.0/24."
            problems.append(SettingFault("console.proxy_addresses", fault))
    proxy = Proxy(networks, section.proxy_user_header, section.proxy_groups_header) if networks else None
    provider = _provider(section, environment, problems)
    listed = listed_tokens(section.tokens_file, problems)
    if problems:
        raise BadSettings(*problems)
    return ConsoleParts(context, proxy, provider, listed)


class RunningConsole:
    """A console that takes alerts and listens until it is stopped."""

    def __init__(
        self,
        settings: Settings,
        folder: Path,
        *,
        source: Callable[[Mapping[int, int]], AlertSource],
        marks: Callable[[], MarkLog],
        audit: Callable[[], AuditLog],
        fleet: FleetSource,
        search: SearchSource | None = None,
        hunts: HuntSource | None = None,
        pipeline: PipelineSource | None = None,
        actions: ActionSource | None = None,
        described: str,
        events: EventArchive = NO_EVENTS,
        is_recording: bool = False,
        note: OnNote,
        listen: str | None = None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """Open the view and start listening.

        Args:
            settings: of the console.
            folder: for the view, tokens and sessions.
            source: opens the source of alerts; gets the positions at which the view ends.
            marks: opens what people decided.
            audit: opens the audit log.
            fleet: knows hosts and rules.
            search: the events to search; None if there are none.
            hunts: where to hunt.
            pipeline: queues and dead letters; None if there are none.
            actions: where actions are recorded; None if they aren't.
            described: the source in words, for people.
            events: the retained events.
            is_recording: the alerts are of a recording that has ended: of any time, however old.
            note: receives messages for an operator.
            listen: address given by a flag, which overrides the setting.
            clock: ns since the epoch.

        Raises:
            BadInput: the settings or the folder can't be used, or nobody could sign in.
            BusUnavailable: the topics can't be read.
        """
        section = settings.console
        parts = console_parts(settings)
        origin = "--listen" if listen else "console.listen"
        host, port = address(listen or section.listen, origin)
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = lock_file(folder / "lock")
            self._accounts = open_accounts(settings, folder)
            set_listed(self._accounts, parts.listed)
            days = _ANY_AGE if is_recording else section.max_days
            view = AlertView(folder / VIEW, ViewLimits(section.max_alerts, days, section.max_mib))
        except BlockingIOError:
            raise BadInput(f"console.state_dir: {folder}: another console uses this folder.") from None
        except OSError as error:
            raise BadInput(f"console.state_dir: {folder}: {error.strerror or error}.") from None
        except DatabaseUnusable as error:
            raise BadInput(f"console.state_dir: {error}.") from None
        sign_in = _sign_in(section, parts, self._accounts, host, origin)
        self._audit = audit()
        self._feed = ViewFeed(view, source(view.positions()), marks(), note=note, clock=clock)
        is_secure = parts.context is not None or (section.public_url or "").startswith("https:")
        reader = AlertReader(folder / VIEW)
        made = Console(
            reader=reader,
            clock=clock,
            story=story_parts(settings, reader, events),
            fleet=fleet,
            feed=self._feed,
            audit=self._audit,
            sign_in=sign_in,
            is_secure=is_secure,
            hosts=_hosts(section, host, port),
            origin=_origin(section.public_url),
            source=described,
            is_recording=is_recording,
            silent_seconds=settings.hosts.silent_seconds,
            stuck_seconds=settings.http.stuck_seconds,
            search=None if search is None else SearchDesk(search),
            hunts=None if hunts is None or not hunts.places else HuntDesk(hunts),
            actions=None if actions is None else ActionDesk(actions, clock),
            pipeline=None if pipeline is None else PipelineDesk(pipeline, limits_of(settings)),
        )
        self._feed.on_change = made.hub.publish
        if made.actions is not None:
            made.actions.on_change = lambda: made.hub.publish(0)
        self._fleet = fleet
        self._http = HttpThread("console", partial(application, made), _LIMITS, parts.context, report=note)
        with or_bad_input(f"{origin}: {listen or section.listen}"):
            self._http.start(host, port)
        self._feed.start()
        fleet.start(lambda: made.hub.publish(0))
        shown = f"[{host}]" if ":" in host else host
        self.address = section.public_url or f"{'https' if parts.context else 'http'}://{shown}:{self._http.port}/"
        if sign_in.is_open:
            note(
                "console: every user of this host can see alerts and decide about them; `lanner console token` "
                "makes a token, which is then required.",
                "warning",
            )
        elif not is_secure and not is_loopback(host):
            note(
                "console: without TLS, tokens and alerts can be read on the network; set console.certificate_file, or "
                "console.public_url if a proxy adds TLS.",
                "warning",
            )

    @property
    def is_alive(self) -> bool:
        """True if it still takes alerts and listens."""
        return self._http.is_alive and self._feed.is_alive

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._http.port

    @property
    def taken(self) -> int:
        """Alerts that it took since its start."""
        return self._feed.taken

    def stop(self, seconds: float = 5.0) -> None:
        """Stop; wait so many seconds for requests in progress."""
        self._http.stop(seconds)
        self._fleet.stop()
        self._feed.stop()
        self._audit.close()
        self._accounts.close()
        self._lock.close()


def _sign_in(section: ConsoleSettings, parts: ConsoleParts, accounts: Accounts, host: str, origin: str) -> SignIn:
    """Return the ways to sign in. Raises BadInput if there is none for people on other hosts."""
    now = int(time.time())
    has_token = section.tokens and any(not each.expires or each.expires > now for each in accounts.tokens())
    has_way = has_token or parts.proxy is not None or parts.provider is not None
    if not has_way and not is_loopback(host):
        raise BadInput(
            f"{origin}: {host} can be reached from other hosts, and nobody could sign in: make a token with "
            "`lanner console token create NAME`, or set console.proxy_addresses or console.oidc_issuer."
        )
    return SignIn(
        accounts,
        is_open=not has_way,
        tokens=section.tokens,
        proxy=parts.proxy,
        provider=None if parts.provider is None else OpenIdProvider(parts.provider),
        analysts=frozenset(section.analyst_groups),
        viewers=frozenset(section.viewer_groups),
    )


def _provider(
    section: ConsoleSettings, environment: Mapping[str, str], problems: list[SettingFault]
) -> OpenIdClient | None:
    if not section.oidc_issuer:
        return None
    for name in ("oidc_client_id", "public_url"):
        if not getattr(section, name):
            text = f"console.{name} must be set where console.oidc_issuer is."
            problems.append(SettingFault("console.oidc_issuer", text, follows=True))
    file = section.oidc_client_secret_file
    value = secret("console.oidc_client_secret_file", "LANNER_CONSOLE_OIDC_SECRET", file, environment, problems)
    redirect = _origin(section.public_url) + CALLBACK
    return OpenIdClient(
        section.oidc_issuer,
        section.oidc_client_id or "",
        value,
        redirect,
        section.oidc_groups_claim,
        section.oidc_scopes,
    )


def _origin(url: str | None) -> str:
    parts = urlsplit(url or "")
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""


def _hosts(section: ConsoleSettings, host: str, port: int) -> frozenset[str]:
    """Return the names by which browsers may address it; empty for any, where people sign in."""
    public = urlsplit(section.public_url or "").netloc.lower()
    if not is_loopback(host):
        return frozenset()
    if port == 0:
        return frozenset()
    return frozenset({f"{name}:{port}" for name in ("localhost", "127.0.0.1", "[::1]", host)} | {public} - {""})
