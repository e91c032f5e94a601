"""The actions that a rollout asks its shell for, in order."""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from foundation.errors import LannerError
from foundation.text import Level, count_of
from processor.detection.stage import CompiledRuleset
from processor.loading.difference import RuleSnapshot, difference, lines
from processor.output import internal_alerts
from processor.splitting import Plan
from schemas.alert import Alert, alert_id
from schemas.batch import EventBatch
from schemas.published_rules import PublishedRules

FILES = "files"
"""In place of a version: the rules come from this processor's own files."""


class RulesRefused(LannerError):
    """A published version cannot be used; the message is the reason, for people."""


@dataclass(frozen=True, slots=True)
class RulesInUse:
    """One version, compiled."""

    ruleset: CompiledRuleset
    rules: RuleSnapshot
    """As loaded, for the difference to the next version."""
    decode: Callable[[bytes], EventBatch]
    """Decodes a batch and adds the host names that these rules compare with; raises BadBatch."""
    close: Callable[[], None]
    """Stops resolving host names."""
    encoded_filter: bytes = b""
    """The pushdown filter of these rules, encoded."""
    published: PublishedRules | None = None
    signed_by: str = ""
    origin: str = ""
    """Where rules from files came from."""
    offset: int = -1
    """In the rules topic."""

    @property
    def description(self) -> str:
        """A short description for people."""
        count = len(self.ruleset.names_of())
        if self.published is None:
            return f"{count_of(count, 'rule')} from {self.origin}"
        signed = f", signed by {self.signed_by}" if self.signed_by else ""
        return f"{count_of(count, 'rule')} of version {self.version}{signed}, published by {self.published.publisher}"

    @property
    def version(self) -> str:
        """The version's name."""
        return FILES if self.published is None else self.published.version


@dataclass(frozen=True, slots=True)
class Offer:
    """A published version as received; nothing in it is trusted."""

    value: bytes | None
    """None if the published rules were deleted."""
    stamp: int
    """When it was appended, ms since the epoch."""
    offset: int
    message: Any = None
    """The whole message, for whoever compiles it."""


@dataclass(frozen=True, slots=True)
class Compile:
    """Compile a version, and report it as compiled or refused."""

    offer: Offer


@dataclass(frozen=True, slots=True)
class Support:
    """Make the correlate stage support these rules."""

    plan: Plan
    is_settled: bool
    """True to drop the state of other versions."""


@dataclass(frozen=True, slots=True)
class Activate:
    """Make the detect stage evaluate a version, and close the one before."""

    rules: RulesInUse
    old: RulesInUse


@dataclass(frozen=True, slots=True)
class Close:
    """Stop resolving the host names of a version that is not evaluated."""

    rules: RulesInUse


@dataclass(frozen=True, slots=True)
class Send:
    """Send a message to a topic."""

    topic: str
    key: bytes
    value: bytes | None


@dataclass(frozen=True, slots=True)
class SendAlert:
    """Send an alert, and wait until the broker has it."""

    alert: Alert


@dataclass(frozen=True, slots=True)
class ReportChange:
    """Send the alert about the active version; once the broker has it, report that to the other processors."""

    alert: Alert
    version: str


@dataclass(frozen=True, slots=True)
class Note:
    """Print a message for an operator."""

    text: str
    level: Level = "info"


@dataclass(frozen=True, slots=True)
class Failed:
    """Report an error in one part of a step; the other parts continue."""

    error: Exception


Action = Compile | Support | Activate | Close | Send | SendAlert | ReportChange | Note | Failed


RULES_REFUSED = "Lanner internal: rules refused"
FILTER_UNUSABLE = "Lanner internal: interest unusable"
MAX_CHANGES = 50


def rules_changed(prefix: str, fresh: RulesInUse, old: RulesInUse | None) -> Alert:
    """Return the alert about a new active version.

    Args:
        prefix: of the cluster's topics.
        fresh: the version that becomes active; it was published.
        old: the version before; None if this processor does not know it and must rely on the publisher's list.
    """
    rules = fresh.published
    if rules is None:
        raise ValueError("the rules were not published")
    changes = rules.difference[:MAX_CHANGES]
    if old is not None:
        changes = lines(difference(old.rules, fresh.rules), MAX_CHANGES)
    signed = f", signed by {fresh.signed_by}" if fresh.signed_by else ""
    comment = f" ({rules.comment})" if rules.comment else ""
    return internal_alerts.rules_changed(
        (prefix, rules.version),
        rules.published,
        f"version {rules.version} is active, published by {rules.publisher} on {rules.host}{signed}{comment}",
        changes,
        {
            "rules.version": rules.version,
            "rules.previous": rules.previous if old is None else old.version,
            "rules.publisher": rules.publisher,
            "rules.host": rules.host,
            "rules.comment": rules.comment,
            "rules.signed_by": fresh.signed_by or None,
        },
        hostname=rules.host,
    )


def rules_refused(prefix: str, offer: Offer, reason: str, active: str) -> Alert:
    """Return the alert about a version that was refused.

    Args:
        prefix: of the cluster's topics.
        offer: the version as received.
        reason: for people.
        active: the version that stays active.
    """
    stamp = offer.stamp * 1_000_000
    cause = blake2b(offer.value or b"", digest_size=8).hexdigest()
    return Alert(
        id=alert_id(stamp, RULES_REFUSED, prefix, cause, offer.offset),
        time=stamp,
        rule=RULES_REFUSED,
        priority="Critical",
        output=f"a published version was refused: {reason[:1000]} | version {active} stays active",
        output_fields={"rules.reason": reason[:1000], "rules.in_force": active},
        source="internal",
    )


def filter_unusable(prefix: str, key: bytes, value: bytes, reason: str, now: int) -> Alert:
    """Return the alert about a pushdown filter that collectors cannot use: they send everything.

    Args:
        prefix: of the cluster's topics.
        key: the version that it claims to belong to; not trusted.
        value: as received.
        reason: for people.
        now: ns since the epoch.
    """
    name = key.decode("utf-8", "replace")[:100]
    cause = blake2b(value, digest_size=8).hexdigest()
    return Alert(
        id=alert_id(now, FILTER_UNUSABLE, prefix, name, cause),
        time=now,
        rule=FILTER_UNUSABLE,
        priority="Warning",
        output=f"the pushdown filter of version {name} cannot be used: {reason[:500]} | collectors send everything",
        output_fields={"rules.version": name, "rules.reason": reason[:500]},
        source="internal",
    )
