"""What operators publish: the version of a fleet's rules, compiled by the settings, and decisions about host keys.

The keys to sign and verify versions are read here too.
"""

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from confluent_kafka import Message
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from bus.actions import PeopleKeys
from bus.clients.compacted import CompactedTopicWriter, messages_of
from bus.connection import Connection
from bus.messages import HOST_DOMAIN, SIGNATURE, Headers
from bus.published_rules import accept, current
from bus.signatures import BadSigningKey, bare_public_key, is_signed_by, read_private_key, read_public_key
from bus.topics import HOST_KEYS, HOST_PINS, HOSTS
from lanner.errors import BadInput
from lanner.ruleset.active import ActiveRules, RuleChoices
from lanner.ruleset.compile import CompiledDetection
from lanner.ruleset.load import load_or_fail
from lanner.ruleset.published import as_published, current_host, current_user
from lanner.settings import Settings
from lanner.settings.faults import BadSettings, SettingFault
from lanner.terminal.output import note
from lanner.wiring.kafka import reachable_connection, secret
from lanner.wiring.rules import detection_of, rule_choices
from processor.hosts.identity import KnownHosts
from processor.loading.items.python_file import is_python
from schemas.host_keys import Announcement, BadHostKey, HostKey, State, decode_announcement, encode_host_key
from schemas.published_rules import BadRules, PublishedRules, decode_rules

_MAX_ANNOUNCED = 100_000
"""A bound, because anyone who may send events may announce any number of keys."""
_HEADERS: Headers = [("content-type", b"application/json")]


def detection_of_published(
    settings: Settings, rules: PublishedRules, *, warnings: bool = False, is_signed: bool | None = None
) -> CompiledDetection:
    """Compile a version with its own switches and priority instead of the configured ones.

    is_signed: whether one of the configured keys signed it; None to compile it for a look, so that no Python is run.

    Raises:
        BadInput: With all errors, also for Python files that aren't signed, unless a setting accepts them.
    """
    if is_signed is False and not settings.published_rules.unsigned_python:
        refuse_python(file.name for file in rules.files)
    choices = _choices(settings, rules)
    return detection_of(
        settings, choices if is_signed is not None else replace(choices, python=None), warnings=warnings
    )


def refuse_python(names: Iterable[str]) -> None:
    """Raise BadInput for Python rule files among those of a version that nobody signed."""
    if python := sorted(filter(is_python, names)):
        raise BadInput(
            f"{', '.join(python)}: Python rule files are run only if the version is signed: publish it with "
            "--sign-key, and set published_rules.public_key_files for processors (or "
            "published_rules.unsigned_python, which lets all who may write to the topic run code there)."
        )


def active_of_published(settings: Settings, rules: PublishedRules) -> ActiveRules:
    """Load a version, as detection_of_published does, without compiling it. Raises BadInput."""
    return load_or_fail(_choices(settings, rules), warnings=False)


def _choices(settings: Settings, rules: PublishedRules) -> RuleChoices:
    return as_published(rule_choices(settings), rules, settings.published_rules.indicator_folders)


def public_keys(settings: Settings) -> tuple[Ed25519PublicKey, ...]:
    """Read the keys whose signatures are accepted. Raises BadInput."""
    return read_public_keys("published_rules.public_key_files", settings.published_rules.public_key_files)


def read_public_keys(setting: str, files: Sequence[str]) -> tuple[Ed25519PublicKey, ...]:
    """Read the public keys that a setting names. Raises BadInput."""
    keys, problems = [], []
    for index, name in enumerate(files):
        try:
            keys.append(read_public_key(Path(name)))
        except (OSError, BadSigningKey) as error:
            what = error.strerror if isinstance(error, OSError) else str(error)
            problems.append(SettingFault(f"{setting}[{index}]", f"{setting}: {name}: {what}."))
    if problems:
        raise BadSettings(*problems)
    return tuple(keys)


def read_people_keys(section: str, people: Sequence[str], consoles: Sequence[str]) -> PeopleKeys:
    """Read the keys of people, whose names are those of the files, and of consoles. Raises BadInput."""
    names = [Path(name).stem for name in people]
    keys = read_public_keys(f"{section}.people_key_files", people)
    of_consoles = read_public_keys(f"{section}.console_key_files", consoles)
    return PeopleKeys(tuple(zip(names, keys, strict=True)), of_consoles)


def private_key(path: Path, named: str = "--sign-key", variable: str = "LANNER_SIGN_KEY_PASSWORD") -> Ed25519PrivateKey:
    """Read a signing key.

    Args:
        path: its file.
        named: the option or setting that names it.
        variable: of the environment, with its password if it has one.

    Raises:
        BadInput: it can't be used, or others can read it.
    """
    problems: list[SettingFault] = []
    password = secret(named, variable, None, os.environ, problems)
    if problems:
        raise BadSettings(*problems)
    try:
        if path.stat().st_mode & 0o077:
            raise BadInput(f"{named}: {path}: other users can read it; run: chmod 600 {path}")
        return read_private_key(path, password)
    except (OSError, BadSigningKey) as error:
        what = error.strerror if isinstance(error, OSError) else str(error)
        raise BadInput(f"{named}: {path}: {what}.") from None


def accepted_version(settings: Settings, connection: Connection) -> PublishedRules | None:
    """Return the published version, None if there is none. Raises BadInput if it is refused, and BusUnavailable."""
    message = current(connection)
    if message is None:
        return None
    try:
        return accept(message, public_keys(settings)).rules
    except BadRules as error:
        raise BadInput(f"the published version can't be used: {error}.") from None


def running_version(settings: Settings) -> tuple[PublishedRules | None, CompiledDetection | None]:
    """Return the published version, and its rules if they can still be loaded. Raises BusUnavailable."""
    message = current(reachable_connection(settings))
    if message is None:
        return None, None
    try:
        running = decode_rules(message.value() or b"")
    except BadRules as error:
        note(f"the published version can't be read ({error}), so there is nothing to compare with.")
        return None, None
    try:
        return running, detection_of_published(settings, running)
    except BadInput as error:
        note(f"version {running.version} is broken, so there is nothing to compare with. {error.messages[0]}")
        return running, None


@dataclass(frozen=True, slots=True)
class HostKeys:
    """A snapshot of the known keys."""

    decided: Mapping[str, HostKey]
    """By host id."""
    announced: Mapping[tuple[str, bytes], Announcement]
    """By host id and key; anyone may announce a key of their own under any id."""

    def announced_keys(self, host_id: str) -> list[bytes]:
        """Return the keys that were announced under an id."""
        return [key for host, key in self.announced if host == host_id]


def read_host_keys(connection: Connection) -> HostKeys:
    """Read the topics of host keys to their ends. Raises BusUnavailable."""
    known = KnownHosts()
    announced: dict[tuple[str, bytes], Announcement] = {}
    for topic, message in messages_of(connection, [HOSTS, HOST_PINS, HOST_KEYS]):
        key, value = message.key() or b"", message.value()
        if topic == HOST_KEYS:
            known.take_decision(key, value)
        elif topic == HOST_PINS:
            known.take_pin(key, value)
        elif (announcement := _announcement(message)) is not None and len(announced) < _MAX_ANNOUNCED:
            announced[announcement.host_id, announcement.public_key] = announcement
    return HostKeys(known.everything(), announced)


def _announcement(message: Message) -> Announcement | None:
    """Return the announcement in a message; None if it is not signed by the announced key."""
    value = message.value() or b""
    signature = dict(message.headers() or []).get(SIGNATURE)
    try:
        announcement = decode_announcement(value)
        is_genuine = isinstance(signature, bytes) and is_signed_by(
            bare_public_key(announcement.public_key), signature, HOST_DOMAIN, value
        )
    except (BadHostKey, BadSigningKey):
        return None
    return announcement if is_genuine else None


class HostKeyDecisions:
    """Writes an operator's decisions to the topic that processors follow."""

    def __init__(self, connection: Connection, settings: Settings) -> None:
        """Connect. Raises BusUnavailable if the broker's settings can't be used."""
        self._writer = CompactedTopicWriter(connection)
        self._by = f"{current_user()}@{current_host(settings.host.name)}"[:200]

    def decide(self, host_id: str, state: State, public_key: bytes) -> None:
        """Publish a decision. Raises BusUnavailable, and BadHostKey if readers would reject it."""
        record = HostKey(host_id, state, public_key, time.time_ns(), self._by)
        self._writer.put(HOST_KEYS, host_id.encode(), encode_host_key(record), _HEADERS)

    def forget(self, host_id: str) -> None:
        """Delete all decisions about a host. Raises BusUnavailable."""
        for topic in (HOST_PINS, HOST_KEYS):
            self._writer.put(topic, host_id.encode(), None, [])
