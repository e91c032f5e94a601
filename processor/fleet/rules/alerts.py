"""Alerts about a fleet's rules: which version came into force, and which one was refused.

Their ids are made of the version alone, so that all processors tell one thing.
"""

import time
from hashlib import blake2b

from confluent_kafka import Message

from processor.detection.internal_alerts import RULES_CHANGED
from processor.fleet.rules.version import RulesInUse
from processor.loading.difference import difference, lines
from schemas.alert import Alert, alert_id

RULES_REFUSED = "Lanner internal: rules refused"
INTEREST_UNUSABLE = "Lanner internal: interest unusable"
MAX_CHANGES = 50


def rules_changed(prefix: str, fresh: RulesInUse, old: RulesInUse | None) -> Alert:
    """Make the alert of a switch.

    Args:
        prefix: of the cluster's topics.
        fresh: what comes into force; it was published.
        old: what was; None where this processor does not know it, and has to take the publisher's word.
    """
    rules = fresh.published
    if rules is None:
        raise ValueError("only what was published is told")
    changes = rules.difference[:MAX_CHANGES]
    if old is not None:
        changes = lines(difference(old.rules, fresh.rules), MAX_CHANGES)
    signed = f", signed by {fresh.signed_by}" if fresh.signed_by else ""
    comment = f" ({rules.comment})" if rules.comment else ""
    return Alert(
        id=alert_id(rules.published, RULES_CHANGED, prefix, rules.version),
        time=rules.published,
        rule=RULES_CHANGED,
        priority="Notice",
        output=(
            f"version {rules.version} is in force, published by {rules.publisher} on {rules.host}{signed}{comment} | "
            f"{'; '.join(changes) or 'no rule changed'}"
        ),
        output_fields={
            "rules.version": rules.version,
            "rules.previous": rules.previous if old is None else old.version,
            "rules.publisher": rules.publisher,
            "rules.host": rules.host,
            "rules.comment": rules.comment,
            "rules.signed_by": fresh.signed_by or None,
            "rules.changes": changes,
        },
        source="internal",
        hostname=rules.host,
    )


def rules_refused(prefix: str, message: Message, reason: str, in_force: str) -> Alert:
    """Make the alert of a version that was not taken.

    Args:
        prefix: of the cluster's topics.
        message: as it came; nothing in it is trusted.
        reason: for people.
        in_force: the version that stays.
    """
    stamp = message.timestamp()[1] * 1_000_000
    cause = blake2b(message.value() or b"", digest_size=8).hexdigest()
    return Alert(
        id=alert_id(stamp, RULES_REFUSED, prefix, cause, message.offset() or 0),
        time=stamp,
        rule=RULES_REFUSED,
        priority="Critical",
        output=f"a published version was refused: {reason[:1000]} | version {in_force} stays in force",
        output_fields={"rules.reason": reason[:1000], "rules.in_force": in_force},
        source="internal",
    )


def interest_unusable(prefix: str, key: bytes, value: bytes, reason: str) -> Alert:
    """Make the alert of an interest that collectors can't use: they send everything.

    Args:
        prefix: of the cluster's topics.
        key: the version that it is said to be of; not trusted.
        value: as it came.
        reason: for people.
    """
    name = key.decode("utf-8", "replace")[:100]
    cause = blake2b(value, digest_size=8).hexdigest()
    now = time.time_ns()
    return Alert(
        id=alert_id(now, INTEREST_UNUSABLE, prefix, name, cause),
        time=now,
        rule=INTEREST_UNUSABLE,
        priority="Warning",
        output=f"what version {name} asks of collectors can't be used: {reason[:500]} | collectors send everything",
        output_fields={"rules.version": name, "rules.reason": reason[:500]},
        source="internal",
    )
