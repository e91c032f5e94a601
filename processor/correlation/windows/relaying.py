"""Relays an event to other groups where rules that count by those of this one match it."""

from collections.abc import Iterator, Mapping
from hashlib import blake2b

from processor.correlation.plan.split import Term
from processor.correlation.pre_match import PreMatch
from processor.correlation.windows.truths import Truths, holds, unmet_repeats


def relayed(pre_match: PreMatch, truths: Truths, gates: Mapping[str, Term]) -> Iterator[PreMatch]:
    """Yield what an event gives to other groups, the same however often it is evaluated.

    Args:
        pre_match: the event, for one group.
        truths: which stateful macros are true of it in this group.
        gates: the terms that this group may decide, by id.
    """
    for relay in pre_match.relays:
        met = [term for feed in relay.feeds if (term := gates.get(feed.term)) is not None and holds(term, truths)]
        if not met:
            continue
        known = {term.id for term in met}
        yield PreMatch(
            pre_match.origin,
            pre_match.time,
            pre_match.hostname,
            relay.group,
            tuple(feed for feed in relay.feeds if feed.term in known or feed.term not in gates),
            relay.candidates,
            pre_match.appended,
            pre_match.is_established,
            pre_match.weight - min(unmet_repeats(term, truths) for term in met),
            relays=relay.relays,
            via=_via(pre_match),
        )


def _via(pre_match: PreMatch) -> int:
    text = repr((pre_match.via, pre_match.group)).encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big", signed=True)
