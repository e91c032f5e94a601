"""Opens the stores of dead letters: the broker's topics, or the outboxes of this host."""

from collections.abc import Sequence
from pathlib import Path

from lanner.dead_letters.store import DeadLetterStore, outboxes
from lanner.errors import BadInput
from lanner.installation.libraries import need
from lanner.settings import Settings
from lanner.settings.sections.sources.json_sources import json_topic_names
from lanner.wiring.kafka import reachable_connection


def open_stores(settings: Settings, *, local: bool) -> Sequence[DeadLetterStore]:
    """Return the stores of dead letters. Raises BadInput and BusUnavailable."""
    if local:
        folder = Path(settings.notifier.state_dir)
        found = outboxes(folder)
        if not found:
            raise BadInput(f"notifier.state_dir: {folder}: no outbox found. Leave out --local to read from the broker.")
        return found
    need("notifier", "confluent_kafka")
    from lanner.dead_letters.topics import TopicDeadLetters  # noqa: PLC0415  needs the broker's client

    connection = reachable_connection(settings)
    own = json_topic_names(settings.json_sources)
    return [TopicDeadLetters(connection, "notifier"), TopicDeadLetters(connection, "processor", own)]
