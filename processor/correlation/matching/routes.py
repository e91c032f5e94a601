"""Parts what an event gives to stateful rules by the groups that decide it, one after the other.

A rule that counts by one group may be a leg of a macro that counts by another one. The event goes to the first group
together with what it gives to the second one, which that group's owner relays once the rule matches.
"""

from collections.abc import Mapping, Sequence

from processor.correlation.plan.split import Plan
from processor.correlation.pre_match import Candidate, Feed, Group, Relay

Part = tuple[Group, tuple[Feed, ...], tuple[Candidate, ...], tuple[Relay, ...]]
"""What the event gives to one group."""
Relays = Mapping[Group, Mapping[Group, Sequence[Feed]]]
"""Legs by the group that decides about them, then by their own group."""


class RelayRoutes:
    """What the parts of a plan depend on."""

    def __init__(self, plan: Plan) -> None:
        """Index a plan."""
        self._owners = {term.id: macro.fingerprint for macro in plan.macros for leg in macro.legs for term in leg.terms}
        terms = [term for leg in plan.legs for term in leg.terms] + [term for rule in plan.rules for term in rule.terms]
        self._needs = {term.id: term.needs for term in terms}

    def parts(
        self, feeds: Mapping[Group, Sequence[Feed]], candidates: Mapping[Group, Sequence[Candidate]], relays: Relays
    ) -> list[Part]:
        """Return what to send to each group, those that relay it last. What can't hold is left out.

        Args:
            feeds: what the event satisfies, macros that others need first.
            candidates: the rules that it may match.
            relays: legs that other groups decide.
        """

        def part(group: Group, entries: Sequence[Feed] = ()) -> Part:
            fed = {self._owners[feed.term] for feed in entries}

            def counts(term: str) -> bool:
                needs = self._needs[term]
                # What needs no window went to the group at first.
                return needs <= fed and not (entries and not needs)

            found = list(entries)
            for feed in feeds.get(group, ()):
                if counts(feed.term):
                    fed.add(self._owners[feed.term])
                    found.append(feed)
            onward = []
            # Each step leads to macros that need those before, so that it ends although groups may have equal values.
            for other, legs in relays.get(group, {}).items():
                if ready := [leg for leg in legs if counts(leg.term)]:
                    onward.append(Relay(*part(other, ready)))
            matching = tuple(each for each in candidates.get(group, ()) if counts(each.term))
            return group, tuple(found), matching, tuple(onward)

        parts = [part(group) for group in dict.fromkeys((*feeds, *candidates, *relays))]
        return sorted((each for each in parts if any(each[1:])), key=lambda each: bool(each[3]))
