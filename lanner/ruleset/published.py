"""Builds a version of a fleet's rules from files, publishes it, and remembers the newest one."""

import json
import os
import pwd
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bus.clients.compacted import CompactedTopicWriter
from bus.connection import BusUnavailable, Connection
from bus.messages import Headers
from bus.published_rules import CURRENT, SIGNATURE, rules_message
from bus.topics import MAX_MESSAGE_BYTES, PUSHDOWN_FILTERS, RULES
from foundation.files import write_atomically
from foundation.text import OnNote
from lanner.errors import BadInput
from lanner.ruleset.active import RuleChoices
from lanner.ruleset.compile import CompiledDetection
from processor.fleet.rules.actions import RulesInUse, RulesRefused
from processor.indicators.lists import PackedFile, PublishedFiles
from processor.loading import LoadedIndicators, RuleFile
from processor.loading.rules import Switch
from schemas.catalog.priorities import PriorityName
from schemas.filter import encode_filter
from schemas.published_rules import BadRules, PublishedFile, PublishedRules, PublishedSwitch, safe_names

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
        """Read the file, which need not exist. on_note: receives a message if it can't be used."""
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
        """Return a compiled version and store it as the newest, from its message of the topic.

        Raises OlderRules, and closes it, if it is older than the newest.
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


def published_of(
    choices: RuleChoices, host: str, comment: str, indicators: Iterable[LoadedIndicators] = ()
) -> PublishedRules:
    """Return a version made from rule files and their switches; it has no name yet.

    host: where it is published. indicators: the lists that the rule files define; files with relative paths are
    published. Raises BadInput if one can't be read.
    """
    names = safe_names(Path(file.name).name for file in choices.files)
    texts = [file.text if isinstance(file.text, bytes) else file.text.encode() for file in choices.files]
    return PublishedRules(
        files=tuple(PublishedFile(name, text) for name, text in zip(names, texts, strict=True)),
        switches=tuple(PublishedSwitch(switch.enable, switch.by, switch.pattern) for switch in choices.switches),
        priority=choices.priority,
        publisher=current_user(),
        host=host,
        comment=comment,
        indicators=_indicator_files(indicators),
    )


def _indicator_files(lists: Iterable[LoadedIndicators]) -> tuple[PublishedFile, ...]:
    found: dict[str, bytes] = {}
    for each in lists:
        spec = each.indicators.spec
        if Path(spec.file).is_absolute():
            continue
        try:
            content = each.indicators.packed()
        except OSError as error:
            raise BadInput(f"{each.location}: {spec.file} can't be read: {error.strerror or error}.") from None
        if found.setdefault(spec.file, content) != content:
            raise BadInput(f"{each.location}: another rule file names another file {spec.file}: rename one of them.")
    return tuple(PublishedFile(name, content) for name, content in found.items())


def as_published(choices: RuleChoices, rules: PublishedRules, folders: Iterable[str]) -> RuleChoices:
    """Return this host's choices with the files, switches and priority of a version. Raises BadInput.

    folders: below which files of indicators with absolute paths may be.
    """
    priority = next((name for name in get_args(PriorityName) if name == rules.priority), None)
    if priority is None:
        raise BadInput(f"{rules.priority!r} is not a valid priority.")
    packed = {file.name: PackedFile(file.text, rules.published / 1e9) for file in rules.indicators}
    return replace(
        choices,
        files=tuple(RuleFile(file.name, file.text) for file in rules.files),
        published=PublishedFiles(packed, tuple(map(Path, folders))),
        watched=(),
        origin=f"version {rules.version}",
        switches=tuple(Switch(switch.enable, switch.by, switch.pattern) for switch in rules.switches),
        priority=priority,
    )


def current_host(configured: str | None) -> str:
    """Return the name of the host that a command runs on; one that is configured comes first."""
    return configured or os.environ.get("LANNER_HOSTNAME") or socket.gethostname()


def current_user() -> str:
    """Return the name of the user, including the one behind sudo."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = str(os.getuid())
    behind = os.environ.get("SUDO_USER")
    return f"{behind} (as {name})" if behind and behind != name else name


_JSON: Headers = [("content-type", b"application/json")]


def publish(
    rules: PublishedRules,
    key: Ed25519PrivateKey | None,
    compiled: Callable[[PublishedRules], CompiledDetection],
    connect: Callable[[], Connection],
    on_note: OnNote,
) -> None:
    """Publish a named version; on return the broker has stored both messages.

    key: signs it; None to publish it without a signature. compiled: compiles it as processors will, to find errors
    caused by file names or switches. on_note: receives messages for an operator. Raises BadInput if the version is
    invalid or too large; BusUnavailable without a broker, or if it denies this user to publish rules.
    """
    try:
        encoded = encode_filter(compiled(rules).pushdown_filter)
        value, headers = rules_message(rules, key)
    except BadRules as error:
        raise BadInput(f"can't publish: {error}.") from None
    if len(encoded) > MAX_MESSAGE_BYTES // 2:
        raise BadInput(f"the pushdown filter of these rules is too large for a message: {len(encoded)} bytes.")
    writer = CompactedTopicWriter(connect())
    try:
        # Collectors must widen their filters before any processor switches.
        writer.put(PUSHDOWN_FILTERS, rules.version.encode(), encoded, _JSON)
    except BusUnavailable as error:
        # Processors publish it as well. Whoever only publishes rules may not change what collectors send.
        if error.patience:
            on_note(f"could not publish the pushdown filter, so the processors will: {error.reason}.")
    writer.put(RULES, CURRENT, value, headers)
