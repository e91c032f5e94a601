"""Builds a version of a fleet's rules from files, compiles it, and reads the keys to sign and verify it."""

import json
import os
import pwd
import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from bus.clients.compacted import CompactedTopicWriter
from bus.connection import BusUnavailable
from bus.messages import Headers
from bus.published_rules import CURRENT, SIGNATURE, current, rules_message
from bus.signatures import BadSigningKey, read_private_key, read_public_key
from bus.topics import MAX_MESSAGE_BYTES, PUSHDOWN_FILTERS, RULES
from foundation.files import write_atomically
from foundation.text import OnNote
from lanner.errors import BadInput
from lanner.ruleset.compile import CompiledDetection, detection_of
from lanner.ruleset.load import ActiveRules, RuleSources, load_or_fail, switches_of
from lanner.settings import Settings
from lanner.settings.faults import BadSettings, SettingFault
from lanner.settings.sections.model import Selection, Target
from lanner.terminal.output import note
from lanner.wiring.kafka import reachable_connection, secret
from processor.fleet.rules.actions import RulesInUse, RulesRefused
from processor.loading import RuleFile
from schemas.catalog.priorities import PriorityName
from schemas.filter import encode_filter
from schemas.published_rules import BadRules, PublishedFile, PublishedRules, PublishedSwitch, decode_rules, safe_names

_MOST_BYTES = 4096
_SIGNATURE_BYTES = 64


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """A signed version from the disk, as a message of the topic."""

    data: bytes

    def value(self) -> bytes:
        """Return its bytes."""
        return self.data[_SIGNATURE_BYTES:]

    def headers(self) -> list[tuple[str, bytes]]:
        """Return its signature."""
        return [(SIGNATURE, self.data[:_SIGNATURE_BYTES])]

    def offset(self) -> int:
        """Return that it comes before all in the topic."""
        return -1


class OlderRules(RulesRefused):
    """A version is older than one that this processor accepted."""


class NewestRules:
    """Stores the name and publication time of the newest version."""

    def __init__(self, path: Path, on_note: OnNote) -> None:
        """Read the file.

        Args:
            path: the file; it need not exist.
            on_note: receives a message if the file can't be used.
        """
        self._path = path
        self._version_path = path.with_suffix(".rules")
        self._on_note = on_note
        self._is_failing = False
        self._published, self._version = self._read()

    def stored(self) -> StoredVersion | None:
        """Return the newest version; None if it isn't on the disk."""
        try:
            with self._version_path.open("rb") as file:
                data = file.read(MAX_MESSAGE_BYTES)
        except OSError:
            return None
        return StoredVersion(data) if len(data) > _SIGNATURE_BYTES else None

    def accepted(self, fresh: RulesInUse, message: Any) -> RulesInUse:
        """Return a compiled version and store it as the newest; close it if it is older than the newest.

        Args:
            fresh: the version.
            message: of the topic, with the version and its signature.

        Raises:
            OlderRules: It is older.
        """
        rules = fresh.published
        if rules is None:
            return fresh
        if rules.published < self._published:
            fresh.close()
            raise OlderRules(
                f"version {rules.version} is older than {self._version}, which this processor already accepted; "
                "publish its files again to go back"
            )
        if rules.published > self._published:
            self._published, self._version = rules.published, rules.version
            text = json.dumps({"published": rules.published, "version": rules.version})
            # The version first: with the other file alone, there would be none to run.
            signature = dict(message.headers() or ()).get(SIGNATURE, b"")
            self._write(self._version_path, signature + (message.value() or b""))
            self._write(self._path, text.encode())
        return fresh

    def _read(self) -> tuple[int, str]:
        try:
            with self._path.open(encoding="utf-8") as file:
                row = json.loads(file.read(_MOST_BYTES))
            return int(row["published"]), str(row["version"])
        except FileNotFoundError:
            return 0, ""
        except OSError as error:
            self._report(error.strerror or str(error))
        except (ValueError, TypeError, KeyError, RecursionError):
            self._report("has invalid content")
        return 0, ""

    def _write(self, path: Path, content: bytes) -> None:
        try:
            write_atomically(path, [content], is_synced=True)
        except OSError as error:
            self._report(error.strerror or str(error))

    def _report(self, why: str) -> None:
        if not self._is_failing:
            self._is_failing = True
            self._on_note(
                f"published_rules.state_dir: {self._path}: {why}; after a restart, an old version that is "
                "published again will be accepted.",
                "warning",
            )


def published_of(settings: Settings, files: Sequence[RuleFile], comment: str) -> PublishedRules:
    """Return a version made from rule files and the configured switches; it has no name yet."""
    names = safe_names(Path(file.name).name for file in files)
    texts = [file.text if isinstance(file.text, bytes) else file.text.encode() for file in files]
    return PublishedRules(
        files=tuple(PublishedFile(name, text) for name, text in zip(names, texts, strict=True)),
        switches=tuple(PublishedSwitch(switch.enable, switch.by, switch.pattern) for switch in switches_of(settings)),
        priority=settings.priority,
        publisher=current_user(),
        host=current_host(settings),
        comment=comment,
    )


def detection_of_published(settings: Settings, rules: PublishedRules, *, warnings: bool = False) -> CompiledDetection:
    """Compile a version with its own switches and priority instead of the configured ones.

    Raises:
        BadInput: With all errors.
    """
    return detection_of(*_as_published(settings, rules), warnings=warnings)


def active_of_published(settings: Settings, rules: PublishedRules) -> ActiveRules:
    """Load a version, as detection_of_published does, without compiling it. Raises BadInput."""
    return load_or_fail(*_as_published(settings, rules), warnings=False)


def _as_published(settings: Settings, rules: PublishedRules) -> tuple[Settings, RuleSources]:
    """Return the files of a version, and the settings with its switches and priority. Raises BadInput."""
    selections = tuple(
        Selection(enable=target) if switch.enable else Selection(disable=target)
        for switch in rules.switches
        for target in (Target(**{switch.by: switch.pattern}),)
    )
    priority = next((name for name in get_args(PriorityName) if name == rules.priority), None)
    if priority is None:
        raise BadInput(f"{rules.priority!r} is not a valid priority.")
    own = replace(settings, rules_files=(), rules=selections, priority=priority)
    files = tuple(RuleFile(file.name, file.text) for file in rules.files)
    return own, RuleSources(files, (), f"version {rules.version}")


def public_keys(settings: Settings) -> tuple[Ed25519PublicKey, ...]:
    """Read the keys whose signatures are accepted. Raises BadInput."""
    keys, problems = [], []
    for index, name in enumerate(settings.published_rules.public_key_files):
        try:
            keys.append(read_public_key(Path(name)))
        except (OSError, BadSigningKey) as error:
            what = error.strerror if isinstance(error, OSError) else str(error)
            text = f"published_rules.public_key_files: {name}: {what}."
            problems.append(SettingFault(f"published_rules.public_key_files[{index}]", text))
    if problems:
        raise BadSettings(*problems)
    return tuple(keys)


def private_key(path: Path) -> Ed25519PrivateKey:
    """Read the signing key; its password comes from $LANNER_SIGN_KEY_PASSWORD. Raises BadInput."""
    problems: list[SettingFault] = []
    password = secret("--sign-key", "LANNER_SIGN_KEY_PASSWORD", None, os.environ, problems)
    if problems:
        raise BadSettings(*problems)
    try:
        if path.stat().st_mode & 0o077:
            raise BadInput(f"--sign-key: {path}: other users can read it; run: chmod 600 {path}")
        return read_private_key(path, password)
    except (OSError, BadSigningKey) as error:
        what = error.strerror if isinstance(error, OSError) else str(error)
        raise BadInput(f"--sign-key: {path}: {what}.") from None


def current_host(settings: Settings) -> str:
    """Return the name of the host that a command runs on."""
    return settings.host.name or os.environ.get("LANNER_HOSTNAME") or socket.gethostname()


def current_user() -> str:
    """Return the name of the user, including the one behind sudo."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = str(os.getuid())
    behind = os.environ.get("SUDO_USER")
    return f"{behind} (as {name})" if behind and behind != name else name


_JSON: Headers = [("content-type", b"application/json")]


def publish(settings: Settings, rules: PublishedRules, key: Ed25519PrivateKey | None) -> None:
    """Publish a named version; on return the broker has stored both messages.

    Raises:
        BadInput: The version is invalid or too large.
        BusUnavailable: No broker, or it denies this user to publish rules.
    """
    try:
        # Compile it as processors will, to find errors caused by file names or switches.
        encoded = encode_filter(detection_of_published(settings, rules).pushdown_filter)
        value, headers = rules_message(rules, key)
    except BadRules as error:
        raise BadInput(f"can't publish: {error}.") from None
    if len(encoded) > MAX_MESSAGE_BYTES // 2:
        raise BadInput(f"the pushdown filter of these rules is too large for a message: {len(encoded)} bytes.")
    writer = CompactedTopicWriter(reachable_connection(settings))
    try:
        # Collectors must widen their filters before any processor switches.
        writer.put(PUSHDOWN_FILTERS, rules.version.encode(), encoded, _JSON)
    except BusUnavailable as error:
        # This user may lack the right to change what collectors send: processors publish the filter as well.
        note(f"could not publish the pushdown filter, so the processors will: {error.reason}.")
    writer.put(RULES, CURRENT, value, headers)


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
