"""Alerts about a fleet's rules: which version became active, and which one was refused.

Their ids derive from the version alone, so that all processors report the same alert. Pure: the time is passed in.
"""

from hashlib import blake2b

from processor.detection import internal_alerts
from processor.fleet.rules.actions import Offer
from processor.fleet.rules.version import RulesInUse
from processor.loading.difference import difference, lines
from schemas.alert import Alert, alert_id

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
