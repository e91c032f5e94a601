"""Where the records of actions are: in this host's file, or, if a broker is configured, in a fleet's topics."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lanner.actions.book import ActionBook, ActionRecords
from lanner.actions.one_host import LocalActionRecords
from lanner.libraries import need
from lanner.settings import Settings
from lanner.settings.sections.model import KafkaSettings
from schemas.action import ActionDecision, ActionIntent

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_MAX_BY = 200


@dataclass(frozen=True, slots=True)
class OpenRecords:
    """The records, read to their ends."""

    records: ActionRecords
    book: ActionBook

    def update(self) -> None:
        """Read what was stored since. Raises OSError or BusUnavailable."""
        self.records.update(self.book)

    def write(self, record: ActionIntent | ActionDecision) -> None:
        """Store a record. Raises BadInput without a key, BadActionRecord, OSError or BusUnavailable."""
        self.records.write(record)
        # A topic returns it only after a while.
        self.book.take(record, time.time_ns())


def is_fleet(settings: Settings) -> bool:
    """Return whether actions are those of a fleet: a broker is configured."""
    return settings.kafka != KafkaSettings()


def open_records(settings: Settings, sign_key: Path | None = None) -> OpenRecords:
    """Open and read the records.

    Args:
        settings: state where they are.
        sign_key: signs what is written to a fleet's topics; without one, actions.key_file does.

    Raises:
        BadInput: a key can't be used, or there are no records on this host.
        DatabaseUnusable: the file can't be opened.
        BusUnavailable: the broker is not reachable.
    """
    book = ActionBook()
    records = _fleet(settings, sign_key) if is_fleet(settings) else _local(settings)
    records.update(book)
    return OpenRecords(records, book)


def _local(settings: Settings) -> ActionRecords:
    return LocalActionRecords(Path(settings.actions.state_dir))


def _fleet(settings: Settings, sign_key: Path | None) -> ActionRecords:
    need("processor", "confluent_kafka", "cryptography")
    from lanner.actions.topics import TopicActionRecords
    from lanner.wiring.kafka import reachable_connection
    from lanner.wiring.published import read_public_keys

    known = read_public_keys("actions.people_key_files", settings.actions.people_key_files)
    return TopicActionRecords(reachable_connection(settings), signing_key(settings, sign_key), known)


def signing_key(settings: Settings, sign_key: Path | None = None) -> "Ed25519PrivateKey | None":
    """Return the key that signs intents and decisions; None if none is set. Raises BadInput."""
    from lanner.wiring.published import private_key

    if sign_key is not None:
        return private_key(sign_key)
    if settings.actions.key_file is None:
        return None
    return private_key(Path(settings.actions.key_file), "actions.key_file", "LANNER_ACTIONS_KEY_PASSWORD")


def this_person(settings: Settings) -> str:
    """Return who decides, as name@machine."""
    # It needs the client of the broker, and help must not.
    from lanner.ruleset.published import current_host, current_user

    return f"{current_user()}@{current_host(settings.host.name)}"[:_MAX_BY]
