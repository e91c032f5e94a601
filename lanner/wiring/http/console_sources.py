"""What the pages of a console read in addition to alerts: retained events."""

from functools import partial
from pathlib import Path

from bus.connection import Connection
from lanner.console.server.search.desk import OpenEvents, SearchSource
from lanner.recorder.search.recording import RecordedEvents
from lanner.ruleset.sources import find_rules
from lanner.settings import Settings
from processor.detection.redaction import Redaction


def topic_search(settings: Settings, connection: Connection) -> SearchSource:
    """Return the search in the events of a fleet."""
    from lanner.recorder.search.topic import TopicEvents  # noqa: PLC0415  needs the broker's client

    described = f"the events that the broker at {connection.bootstrap_servers} retains"
    return _search(settings, partial(TopicEvents, connection), described)


def recording_search(settings: Settings, recording: Path) -> SearchSource:
    """Return the search in the events of a recording."""
    return _search(settings, partial(RecordedEvents, recording), f"the events in {recording}")


def _search(settings: Settings, source: OpenEvents, described: str) -> SearchSource:
    return SearchSource(source, described, lambda: find_rules(settings).files, Redaction(settings.redact))
