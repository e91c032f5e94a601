"""Builds the archive's search for new entries of lists of indicators: the fleet's rules in, alerts out."""

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from bus.clients.availability import Outage, Stopped
from bus.clients.producers import Outgoing, ResendingProducer, deliver, resending_producer
from bus.clients.schema_registry import Registry
from bus.connection import BusUnavailable, Connection
from bus.messages import alert_message
from bus.published_rules import accept, current
from bus.topics import ALERTS
from foundation.text import OnNote
from lanner.archive.files import ArchiveFiles
from lanner.errors import BadInput
from lanner.hunting.indicator_search import IndicatorSearch, SearchPorts
from lanner.hunting.new_matches import SearchedRule
from lanner.ruleset.load import load_or_fail
from lanner.ruleset.published import as_published
from lanner.settings import Settings
from lanner.sources.installed import define_sources
from lanner.wiring.published import public_keys
from lanner.wiring.rules import find_rules, repeated_alerts, rule_choices, searched_rules
from schemas.alert import ALERT_FORMAT, Alert
from schemas.encoding.wire import reframed
from schemas.published_rules import BadRules

LOOK_SECONDS = 60.0
_LEAD_SECONDS = 1.0
_DELAY_SECONDS = 60
"""How much longer than `archive.flush_seconds` an event may take to be in a file."""
_QUEUE_BYTES = 8 << 20
_SEND_SECONDS = 30.0
_AT_ONCE = 500


class _FleetRules:
    """The rules of the fleet: the published version, else the rule files. They are loaded when they change."""

    def __init__(self, settings: Settings, connection: Connection, note: OnNote) -> None:
        self._settings = settings
        self._connection = connection
        self._note = note
        self._keys = public_keys(settings)
        self._version: str | None = None
        self._found: list[SearchedRule] = []

    def __call__(self) -> Sequence[SearchedRule]:
        """Return the rules. Raises BadInput and BusUnavailable."""
        message = current(self._connection) if self._settings.published_rules.enabled else None
        if message is None or message.value() is None:
            choices = find_rules(self._settings)
            version = repr([(file.name, hash(file.text)) for file in choices.files])
            if version == self._version:
                return self._found
        else:
            try:
                rules = accept(message, self._keys).rules
            except BadRules as error:
                raise BadInput(f"the published version can't be used: {error}.") from None
            version = rules.version
            if version == self._version:
                return self._found
            define_sources(self._settings)
            folders = self._settings.published_rules.indicator_folders
            choices = as_published(rule_choices(self._settings), rules, folders)
        active = load_or_fail(choices, warnings=False)
        self._found, self._version = searched_rules(choices, active.rules, active, self._note), version
        return self._found


class _Publisher:
    """Publishes alerts; returns once the broker has them."""

    def __init__(self, connection: Connection, settings: Settings, stop: Callable[[], bool], note: OnNote) -> None:
        self._connection = connection
        self._cluster_name = settings.cluster_name or ""
        self._stop = stop
        self._note = note
        self._producer: ResendingProducer | None = None
        self._header = b""

    def __call__(self, alerts: Sequence[Alert]) -> None:
        """Publish alerts. Raises Stopped, and BusUnavailable if waiting doesn't help."""
        if not alerts:
            return
        if self._producer is None:
            if self._connection.registry is not None:
                registry = Registry(self._connection.registry)
                self._header = registry.register(self._connection.topic(ALERTS), ALERT_FORMAT.schema)
            self._producer = resending_producer(
                self._connection, "lanner-archive", queue_bytes=_QUEUE_BYTES, on_note=self._note
            )
        for at in range(0, len(alerts), _AT_ONCE):
            waiting = list(map(self._message, alerts[at : at + _AT_ONCE]))
            while waiting:
                if self._stop():
                    raise Stopped
                outcomes = deliver(self._producer, waiting, _SEND_SECONDS)
                waiting = [each for each, error in zip(waiting, outcomes, strict=True) if self._is_due(error)]

    def _is_due(self, error: Exception | None) -> bool:
        if error is None:
            return False
        if isinstance(error, BusUnavailable):
            if not error.patience:
                raise error
            return True
        self._note(f"an alert of a search for indicators was refused: {error}.", "warning")
        return False

    def _message(self, alert: Alert) -> Outgoing:
        made = alert_message(alert.in_cluster(self._cluster_name))
        value = reframed(made.value, self._header, ALERT_FORMAT.header) if self._header else made.value
        return Outgoing(self._connection.topic(ALERTS), made.key, value, made.headers)


@dataclass(frozen=True, slots=True)
class SearchThread:
    """Searches on a thread of its own while this process leads."""

    search: IndicatorSearch
    ended: threading.Event
    leads: Callable[[], bool]
    note: OnNote

    def run(self, now: Callable[[], int]) -> None:
        """Look for new entries every minute until the process ends. now: returns ms since the epoch."""
        outage = Outage("searching for new indicators", self.note)
        seconds = _LEAD_SECONDS
        while not self.ended.wait(seconds):
            seconds = LOOK_SECONDS if self.leads() else _LEAD_SECONDS
            if not self.leads():
                continue
            try:
                self.search.look(now())
            except Stopped:
                continue
            except Exception as error:  # noqa: BLE001  what a host or a feed sends must not end all later searches
                outage.goes_on(f"new indicators can't be searched for: {_first_line(error)}")
            else:
                outage.is_over()


def _first_line(error: Exception) -> str:
    lines: Iterable[str] = str(error).splitlines()
    return next(iter(lines), type(error).__name__).rstrip(".")


def indicator_search(
    settings: Settings,
    files: ArchiveFiles,
    connection: Connection,
    leads: Callable[[], bool],
    *,
    ended: threading.Event,
    note: OnNote,
) -> SearchThread:
    """Return the search of a process.

    Args:
        settings: the settings.
        files: the archive.
        connection: the broker.
        leads: returns whether this process is the one that searches.
        ended: set when the process ends.
        note: receives messages for the operator.

    Raises:
        BadInput: Keys can't be read.
    """

    def stop() -> bool:
        return ended.is_set() or not leads()

    ports = SearchPorts(
        _FleetRules(settings, connection, note),
        _Publisher(connection, settings, stop, note),
        lambda: repeated_alerts(settings),
        stop,
        ended.wait,
        note,
    )
    delay_ms = (settings.archive.flush_seconds + _DELAY_SECONDS) * 1000
    search = IndicatorSearch(files, ports, days=settings.archive.indicator_days, delay_ms=delay_ms)
    return SearchThread(search, ended, leads, note)
