"""What the pages of a console read in addition to alerts: retained events, queues and dead letters."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path

from bus.connection import Connection
from lanner.console.server.pipeline.desk import PipelineSource
from lanner.console.server.search.desk import OpenEvents, SearchSource
from lanner.dead_letters.store import DeadLetterStore, outboxes
from lanner.operations.pipeline.queues import outbox_queues
from lanner.recorder.search.recording import RecordingRange
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
    return _search(settings, partial(RecordingRange, recording), f"the events in {recording}")


def fleet_pipeline(connection: Connection, own_topics: Sequence[str] = ()) -> PipelineSource:
    """Return the queues and dead letters of a fleet. own_topics: those that processors read by json_sources."""
    from bus.clients.reachability import check_reachable  # noqa: PLC0415  needs the broker's client
    from lanner.dead_letters.topics import TopicDeadLetters  # noqa: PLC0415
    from lanner.operations.pipeline.groups import REACH_SECONDS, group_queues  # noqa: PLC0415

    @contextmanager
    def stores() -> Iterator[Sequence[DeadLetterStore]]:
        check_reachable(connection, REACH_SECONDS)
        yield [TopicDeadLetters(connection, "notifier"), TopicDeadLetters(connection, "processor", own_topics)]

    remarks = (
        "Not known here: what waits on the hosts' disks for the broker, and in outboxes of notifiers with --local.",
    )
    return PipelineSource(partial(group_queues, connection), stores, remarks)


def outbox_pipeline(settings: Settings) -> PipelineSource:
    """Return the queues and dead letters of the sinks of one host."""
    folder = Path(settings.notifier.state_dir)

    @contextmanager
    def stores() -> Iterator[Sequence[DeadLetterStore]]:
        with ExitStack() as opened:
            yield [opened.enter_context(closing(each)) for each in outboxes(folder)]

    remarks = (
        "Without a broker, events are evaluated as they come, and only sinks that send over the network have a queue.",
    )
    return PipelineSource(partial(outbox_queues, folder), stores, remarks)


def _search(settings: Settings, source: OpenEvents, described: str) -> SearchSource:
    return SearchSource(source, described, lambda: find_rules(settings).files, Redaction(settings.redact))
