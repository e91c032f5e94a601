"""Builds a fleet's processor: stages, rules (the published version, else files), host keys and topics of JSON."""

import os
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

from confluent_kafka import Message

from bus.administration import Administration
from bus.clients.availability import Retry, persist
from bus.clients.compacted import messages_of
from bus.connection import Connection
from bus.published_rules import CURRENT, accept
from bus.topics import CORRELATE, EVENTS, PODS, PUSHDOWN_FILTERS, RULES, SESSIONS
from lanner.errors import BadInput
from lanner.ruleset.compile import CompiledDetection
from lanner.ruleset.published import NewestRules, OlderRules
from lanner.ruleset.refreshing import HostNames, IndicatorFiles
from lanner.settings import Settings
from lanner.sources.installed import define_sources, topics_of
from lanner.terminal.output import error_line, note
from lanner.wiring.published import detection_of_published, private_key, public_keys, read_people_keys, read_public_keys
from lanner.wiring.rules import load_detection, repeated_alerts
from processor.correlation.stage import CorrelateStage
from processor.correlation.terms import group_text
from processor.detection.stage import DetectStage
from processor.fleet.actions import ActionRequests
from processor.fleet.consumption import Lateness
from processor.fleet.followers import HostKeysService, RecordsFollower
from processor.fleet.json_stage import JsonStage
from processor.fleet.message_stage import MessageStage
from processor.fleet.rules.actions import FILES, RulesInUse, RulesRefused
from processor.fleet.rules.rollout import Prepare, RulesRollout, Stages
from processor.fleet.worker import FleetProcessor
from processor.hosts.identity import IdentityGate, KnownHosts
from processor.hosts.liveness import HostLiveness
from processor.hosts.tracked import HostReports
from processor.matching.wire import group_of_key
from processor.splitting import Plan
from schemas.batch import EventBatch
from schemas.encoding.batch import decode_batch
from schemas.filter import encode_filter
from schemas.published_rules import MAX_AHEAD, BadRules

_NAME_SECONDS = 5
"""How long to wait for the addresses of host names in new rules before they become active."""
_NEW_TOPIC_SECONDS = 5
"""How long to wait for a topic that may just have been created."""
_MAX_ERRORS = 5
_FORMER_MS = 600_000
"""How long after the next version was published pre-matches of a version may still be in flight, ms."""
_MAX_FORMER = 7
"""With more versions, collectors send everything and no processor switches."""


def build_processor(settings: Settings, connection: Connection, partitions: int, *, quiet: bool) -> FleetProcessor:
    """Build a processor with the published version of the rules, else with those of the rule files.

    The topics have been checked; partitions are those of the events topic.

    Raises:
        BadInput: Rule files, keys or topics of JSON are wrong.
        BusUnavailable: The broker is unusable, and waiting does not help.
    """
    worker = f"{socket.gethostname()}-{os.getpid()}"
    prepare = Preparation(settings)
    in_use, former = rules_at_start(settings, connection, prepare, quiet=quiet)
    detect = MessageStage(
        in_use.ruleset,
        clock=time.monotonic,
        decode=in_use.decode,
        liveness=HostLiveness(settings.hosts.silent_seconds),
        repeats=repeated_alerts(settings),
        messages_per_second=settings.stateful_rules.messages_per_second,
    )
    stages = Stages(detect, CorrelateStage(in_use.ruleset.plan), json_stage(settings, connection, detect.evaluation))
    rules = RulesRollout(
        connection,
        in_use,
        stages,
        prepare.accept,
        former=former,
        worker=worker,
        wait_seconds=settings.published_rules.wait_seconds,
        takes_published=settings.published_rules.enabled,
        on_note=note,
    )
    host_keys = host_keys_service(settings, connection, partitions, worker)
    return FleetProcessor(
        connection,
        stages,
        rules,
        host_keys,
        records=(
            RecordsFollower(connection, PODS, detect.pods.put, on_note=note),
            RecordsFollower(connection, SESSIONS, detect.sessions.put, on_note=note),
        ),
        partitions=partitions,
        lateness=Lateness(settings.lag.seconds, worker, key_names(connection, detect.reports)),
        cluster_name=settings.cluster_name or "",
        actions=action_requests(settings, connection, worker, host_keys),
    )


def action_requests(
    settings: Settings, connection: Connection, worker: str, host_keys: HostKeysService | None
) -> ActionRequests | None:
    """Return what requests actions; None without a key. Raises BadInput if a key can't be used."""
    if settings.actions.key_file is None:
        return None
    key = private_key(Path(settings.actions.key_file), "actions.key_file", "LANNER_ACTIONS_KEY_PASSWORD")
    section = settings.actions
    people = read_people_keys("actions", section.people_key_files, section.console_key_files)
    clusters = read_public_keys("actions.cluster_key_files", section.cluster_key_files)

    def host_key(host_id: str) -> bytes | None:
        known = None if host_keys is None else host_keys.gate.known.find(host_id)
        return None if known is None or known.state == "revoked" else known.public_key

    believes = None if host_keys is None else host_key
    return ActionRequests(connection, key, (people.every, clusters), host_key=believes, worker=worker, on_note=note)


def key_names(connection: Connection, reports: HostReports) -> Callable[[str, bytes], str]:
    """Return a function that describes whose messages have a key: those of a host, or of a group."""
    correlate = connection.topic(CORRELATE)

    def named(topic: str, key: bytes) -> str:
        if topic == correlate:
            return f"group {group_text(group_of_key(key))}"
        return f"host {reports.name(key.decode('utf-8', 'replace'))}"

    return named


class Preparation:
    """Turns messages of the rules topic into rules; both methods raise RulesRefused."""

    def __init__(self, settings: Settings) -> None:
        """Read the keys whose signatures are accepted. Raises BadInput."""
        self._settings = settings
        self._keys = public_keys(settings)
        self.newest: NewestRules | None = None
        """With signing keys, the newest version that was accepted."""
        # Without signatures, the age proves nothing: the writer chooses the date.
        if self._keys:
            # One file per fleet, since processors of several fleets may run here.
            file = Path(settings.published_rules.state_dir) / f"{settings.kafka.prefix}newest.json"
            self.newest = NewestRules(file, note)

    def compile(self, message: Message) -> RulesInUse:
        """Compile a message of any age."""
        try:
            accepted = accept(message, self._keys)
            if accepted.rules.published > time.time_ns() + MAX_AHEAD:
                version = accepted.rules.version
                raise RulesRefused(
                    f"version {version} is dated in the future: check the clocks of its host and this one"
                )
            detection = detection_of_published(self._settings, accepted.rules, is_signed=bool(accepted.signed_by))
        except BadRules as error:
            raise RulesRefused(str(error)) from None
        except BadInput as error:
            more = len(error.messages) - _MAX_ERRORS
            text = " ".join(error.messages[:_MAX_ERRORS]) + (f" … and {more} more errors" if more > 0 else "")
            raise RulesRefused(text) from None
        return _in_use(
            detection,
            encoded_filter=encode_filter(detection.pushdown_filter),
            published=accepted.rules,
            signed_by=accepted.signed_by,
            offset=message.offset() or 0,
        )

    def accept(self, message: Message) -> RulesInUse:
        """Compile a version to use; with signing keys, one older than the newest known is refused."""
        rules = self.compile(message)
        for name, each in rules.rules.indicators.items():
            note(f"indicators {name}: {each.indicators.text}.")
        return rules if self.newest is None else self.newest.accepted(rules, message)


def rules_at_start(
    settings: Settings, connection: Connection, prepare: Preparation, *, quiet: bool
) -> tuple[RulesInUse, dict[str, Plan]]:
    """Return the published version; the rule files if there is none or if it is refused, which is reported.

    Returns:
        The rules to evaluate; and, by version, the plans that others may still evaluate, or did until recently.

    Raises:
        BadInput: the rule files are wrong.
        BusUnavailable: the broker is unusable, and waiting does not help.
    """
    define_sources(settings)
    if not settings.published_rules.enabled:
        return _of_files(settings, quiet=quiet), {}
    versions, live = persist(lambda: _published(connection), Retry("The start", note))
    in_use = _newest(versions, prepare)
    former = _former(versions, live, prepare.compile)
    if in_use is None:
        return _of_files(settings, quiet=quiet), former
    if len(versions) == 1 and _is_recent(versions[0]):
        with suppress(BadInput):
            former[FILES] = load_detection(settings, warnings=False).ruleset.plan
    return in_use, former


def _newest(versions: Sequence[Message], prepare: Preparation) -> RulesInUse | None:
    """Return the newest usable version; with signing keys, what nobody signed hides none before it."""
    is_signed = prepare.newest is not None
    for message in reversed(versions):
        if message.value() is None:
            if is_signed:
                continue
            return None
        try:
            return prepare.accept(message)
        except RulesRefused as error:
            may_go_on = is_signed or isinstance(error, OlderRules)
            error_line(f"rules refused: {error}." + ("" if may_go_on else " Using this processor's rule files."))
            if not may_go_on:
                return None
    stored: Any = None if prepare.newest is None else prepare.newest.stored()
    if stored is not None:
        try:
            return prepare.accept(stored)
        except RulesRefused as error:
            error_line(f"the stored version of the rules is refused: {error}. Using this processor's rule files.")
    return None


def _published(connection: Connection) -> tuple[deque[Message], set[bytes]]:
    """Return the newest published versions, and the names of those whose filters are still published."""
    versions: deque[Message] = deque(maxlen=_MAX_FORMER + 1)
    live: set[bytes] = set()
    for topic, message in messages_of(connection, [RULES, PUSHDOWN_FILTERS]):
        if topic == PUSHDOWN_FILTERS:
            (live.add if message.value() else live.discard)(message.key() or b"")
        elif message.key() == CURRENT:
            versions.append(message)
    return versions, live


def host_keys_service(
    settings: Settings, connection: Connection, partitions: int, worker: str
) -> HostKeysService | None:
    """Return the service that verifies hosts, as configured; None to accept all hosts.

    worker is stored with the keys that this processor pins.
    """
    mode = settings.collector.identity
    if mode == "off":
        return None
    gate = IdentityGate(mode, connection.topic(EVENTS), partitions, KnownHosts(), clock=time.monotonic, worker=worker)
    return HostKeysService(connection, gate, on_note=note)


def json_stage(settings: Settings, connection: Connection, detect: DetectStage) -> JsonStage:
    """Return the stage for JSON events, which knows the source of each topic.

    Raises:
        BadInput: a topic does not exist.
    """
    sources = topics_of(settings)
    if sources:
        administration = Administration(connection)
        existing = persist(
            lambda: administration.existing(tuple(sources), _NEW_TOPIC_SECONDS), Retry("The start", note)
        )
        if missing := [name for name in sources if name not in existing]:
            raise BadInput(*(f"json_sources: topic {name} does not exist, or may not be read." for name in missing))
    return JsonStage(detect, sources, settings.stateful_rules.messages_per_second)


def _former(versions: Sequence[Message], live: set[bytes], prepare: Prepare) -> dict[str, Plan]:
    found: dict[str, Plan] = {}
    for newer, message in pairwise(reversed(versions)):
        if message.value() is None or not (_is_recent(newer) or _version(message) in live):
            continue
        # Errors do not matter: this processor does not evaluate this version.
        with suppress(Exception):
            rules = prepare(message)
            rules.close()
            found[rules.version] = rules.ruleset.plan
    return dict(reversed(found.items()))


def _is_recent(message: Message) -> bool:
    return time.time() * 1000 - message.timestamp()[1] < _FORMER_MS


def _version(message: Message) -> bytes:
    """Return the version name in a message's header; not trusted before the message is prepared."""
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
    indicators = IndicatorFiles(detection.active_rules.indicators.values(), note)

    def decode(data: bytes) -> EventBatch:
        batch = decode_batch(data)
        batch.names = names.table
        return batch

    def stop() -> None:
        names.stop()
        indicators.stop()

    return RulesInUse(
        ruleset=detection.ruleset,
        rules=detection.active_rules,
        decode=decode,
        close=stop,
        origin=detection.origin,
        **published,
    )
