"""Builds a version of a fleet's rules from files, compiles it, and reads the keys to sign and verify it."""

import os
import pwd
import socket
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from bus.messages.signatures import BadSigningKey, read_private_key, read_public_key
from lanner.errors import BadInput
from lanner.ruleset.compile import CompiledDetection, detection_of
from lanner.ruleset.load import ActiveRules, load_or_fail, switches_of
from lanner.ruleset.sources import RuleSources
from lanner.settings import Settings
from lanner.settings.faults import BadSettings, SettingFault
from lanner.settings.sections.model import Selection, Target
from lanner.wiring.kafka import secret
from processor.loading import RuleFile
from schemas.catalogue.priorities import PriorityName
from schemas.records.published_rules import PublishedFile, PublishedRules, PublishedSwitch, safe_names


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
