"""What a fleet's processor judges by: the published version where there is one, else rule files."""

import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from confluent_kafka import Message

from bus.clients.compacted import messages_of
from bus.clients.retry import Retry, persist
from bus.connection import Connection
from bus.messages.published_rules import CURRENT, accept
from bus.topics import EVENTS, INTEREST, RULES
from lanner.cli.terminal.output import error_line, note
from lanner.errors import BadInput
from lanner.ruleset.compile import CompiledDetection, load_detection
from lanner.ruleset.host_names import HostNames
from lanner.ruleset.published.newest import NewestRules, OlderRules
from lanner.ruleset.published.version import detection_of_published, public_keys
from lanner.settings import Settings
from processor.correlation.plan.split import Plan
from processor.fleet.host_keys import HostKeysService
from processor.fleet.rules.rollout import Prepare
from processor.fleet.rules.version import FILES, RulesInUse, RulesRefused
from processor.identity.gate import IdentityGate
from processor.identity.known_hosts import KnownHosts
from schemas.codec import decode_batch
from schemas.encoding.filter_json import encode_filter
from schemas.published_rules import BadRules

_NAME_SECONDS = 5
"""Waited for the addresses of the host names in new rules, before they come into force."""
_MAX_ERRORS = 5
_FORMER_MS = 600_000
"""How long after the next one was published matches of a version may still be on their way."""
_MAX_FORMER = 7
"""With more, collectors send everything, and nobody changes over any more."""


@dataclass(frozen=True, slots=True)
class Preparation:
    """How messages of the topic of rules become rules; both raise RulesRefused."""

    compile: Prepare
    """Compiles a message, whatever its age."""
    accept: Prepare
    """The same for a version to be used: with keys, one that is older than any before is refused."""


def preparation(settings: Settings) -> Preparation:
    """Give what makes rules of messages of their topic. Raises BadInput for bad keys."""
    keys = public_keys(settings)

    def prepare(message: Message) -> RulesInUse:
        try:
            accepted = accept(message, keys)
            detection = detection_of_published(settings, accepted.rules)
        except BadRules as error:
            raise RulesRefused(str(error)) from None
        except BadInput as error:
            more = len(error.messages) - _MAX_ERRORS
            told = " ".join(error.messages[:_MAX_ERRORS]) + (f" … and {more} more errors" if more > 0 else "")
            raise RulesRefused(told) from None
        return _in_use(
            detection,
            interest=encode_filter(detection.interest),
            published=accepted.rules,
            signed_by=accepted.signed_by,
            offset=message.offset() or 0,
        )

    if not keys:
        # Whoever may write there can sign nothing, and date what is unsigned as they like.
        return Preparation(prepare, prepare)
    # One of each fleet, since processors of several may run here.
    newest = NewestRules(Path(settings.published_rules.state_dir) / f"{settings.kafka.prefix}newest.json", note)
    return Preparation(prepare, lambda message: newest.accepted(prepare(message)))


def rules_at_start(
    settings: Settings, connection: Connection, prepare: Preparation, *, quiet: bool
) -> tuple[RulesInUse, dict[str, Plan]]:
    """Give the published version, or the rule files where there is none or it can't be used; the latter is told.

    Returns:
        What to judge by, and by version, of what others may judge by still, or did a moment ago, what correlation has
        to understand.

    Raises:
        BadInput: the rule files are wrong.
        BusUnavailable: the broker can't be used, and waiting changes nothing.
    """
    if not settings.published_rules.enabled:
        return _of_files(settings, quiet=quiet), {}
    versions, live = persist(lambda: _published(connection), Retry("The start", note))
    in_use = _newest(versions, prepare.accept)
    former = _former(versions, live, prepare.compile)
    if in_use is None:
        return _of_files(settings, quiet=quiet), former
    if len(versions) == 1 and _is_recent(versions[0]):
        with suppress(BadInput):
            former[FILES] = load_detection(settings, warnings=False).judges.plan
    return in_use, former


def _newest(versions: Sequence[Message], accept_one: Prepare) -> RulesInUse | None:
    """Give the newest version that can be used; behind one that is put there again, the one before it may still lie."""
    for message in reversed(versions):
        if message.value() is None:
            return None
        try:
            return accept_one(message)
        except OlderRules as error:
            error_line(f"rules refused: {error}.")
        except RulesRefused as error:
            error_line(f"rules refused: {error}. This processor begins with its rule files.")
            return None
    return None


def _published(connection: Connection) -> tuple[deque[Message], set[bytes]]:
    """Give the newest versions that were published, and the names of those that collectors still hear of."""
    versions: deque[Message] = deque(maxlen=_MAX_FORMER + 1)
    live: set[bytes] = set()
    for topic, message in messages_of(connection, [RULES, INTEREST]):
        if topic == INTEREST:
            (live.add if message.value() else live.discard)(message.key() or b"")
        elif message.key() == CURRENT:
            versions.append(message)
    return versions, live


def host_keys_service(
    settings: Settings, connection: Connection, partitions: int, worker: str
) -> HostKeysService | None:
    """Return what says whose batches this processor accepts, as the settings want it; None for anybody's.

    partitions: of the events topic; worker: names this processor in what it pins.
    """
    mode = settings.collector.identity
    if mode == "off":
        return None
    gate = IdentityGate(mode, connection.topic(EVENTS), partitions, KnownHosts(), clock=time.monotonic, worker=worker)
    return HostKeysService(connection, gate, on_note=note)


def _former(versions: Sequence[Message], live: set[bytes], prepare: Prepare) -> dict[str, Plan]:
    found: dict[str, Plan] = {}
    for newer, message in pairwise(reversed(versions)):
        if message.value() is None or not (_is_recent(newer) or _version(message) in live):
            continue
        # Whatever is wrong with it, it is not what this processor is to judge by.
        with suppress(Exception):
            rules = prepare(message)
            rules.close()
            found[rules.version] = rules.judges.plan
    return dict(reversed(found.items()))


def _is_recent(message: Message) -> bool:
    return time.time() * 1000 - message.timestamp()[1] < _FORMER_MS


def _version(message: Message) -> bytes:
    """Give the name that a message says, which is not believed before it is prepared."""
    name = dict(message.headers() or []).get("ce_id")
    return name if isinstance(name, bytes) else b""


def _of_files(settings: Settings, *, quiet: bool) -> RulesInUse:
    detection = load_detection(settings, warnings=not quiet)
    if not quiet:
        for line in detection.notices:
            note(line)
    return _in_use(detection)


def _in_use(detection: CompiledDetection, **published: Any) -> RulesInUse:
    names = HostNames(detection.host_names)
    names.wait(_NAME_SECONDS)
    return RulesInUse(
        judges=detection.judges,
        rules=detection.in_force,
        decode=lambda data: names.named(decode_batch(data)),
        close=names.stop,
        origin=detection.origin,
        **published,
    )
