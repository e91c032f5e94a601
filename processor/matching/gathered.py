"""Gather the terms of stateful rules that one event satisfies, by group; used for the events of all sources."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from processor.compiler.transformers import as_text
from processor.matching.pre_match import (
    Account,
    Candidate,
    Content,
    EventOrigin,
    Feed,
    Group,
    PreMatch,
    Relay,
    Span,
    clipped,
    combined,
    seconds_of,
)
from processor.matching.shares import bringer_of, share_of
from processor.rule import output_pieces
from processor.splitting import Plan, StatefulMacro, StatefulRule, Term
from schemas.alert import Value
from schemas.limits import clipped_values

_PERIOD = 60
"""s."""
_MOST = 100_000
"""The maximum number of values; if there are more, all are sent again."""
_WITNESSES = 4
"""The maximum number of hosts, containers and users that send a value in one minute."""

SeenKey = tuple[str, Group, str]
"""Fingerprint of the macro, group, and value."""


class RecentlySent:
    """The values that one process sent. A message is delivered, or the process ends and others repeat its batch."""

    def __init__(self, plan: Plan) -> None:
        """Begin with none.

        Two kinds of macros are omitted: those that some rule negates, since the negation is true for known values, and
        those that depend on windows themselves, since not every event that is sent is then seen.
        """
        terms = [term for leg in plan.legs for term in leg.terms] + [term for rule in plan.rules for term in rule.terms]
        negated = frozenset[str]().union(*(term.forbids for term in terms))
        self._spans = {
            macro.fingerprint: Span.of(macro.correlation.timespan, macro.correlation.learning)
            for macro in plan.macros
            if macro.correlation.kind.remembers_values
            and macro.fingerprint not in negated
            and not any(term.needs or term.forbids for leg in macro.legs for term in leg.terms)
        }
        self._sent: dict[SeenKey, tuple[tuple[int, int], tuple[int, ...]]] = {}
        """By value, the newest minute in which it was sent, and the shares of its senders then."""

    def covers(self, key: SeenKey, share: int, appended: int) -> bool:
        """Return whether an event can be left out.

        Args:
            key: of its value.
            share: to which the value counts.
            appended: when the broker received it, ns; 0 if none did.
        """
        span = self._spans.get(key[0])
        if span is None or not appended:
            return False
        minute, shares = self._sent.get(key, ((0, 0), ()))
        return (share in shares or len(shares) >= _WITNESSES) and minute == _period(span, appended)

    def mark(self, sent: Iterable[tuple[SeenKey, int]], appended: int) -> None:
        """Note that events were sent. sent: the keys of their values, each with the share to which it counts."""
        for key, share in sent:
            span = self._spans.get(key[0])
            if span is not None and appended:
                if len(self._sent) >= _MOST:
                    self._sent.clear()
                period = _period(span, appended)
                minute, shares = self._sent.get(key, (period, ()))
                self._sent[key] = (period, (*shares, share) if minute == period else (share,))

    def forget(self, keys: Iterable[SeenKey]) -> None:
        """Note that events were not sent after all."""
        for key in keys:
            self._sent.pop(key, None)


def _period(span: Span, appended: int) -> tuple[int, int]:
    second = seconds_of(appended)
    return second // span.part, second // _PERIOD


Part = tuple[Group, tuple[Feed, ...], tuple[Candidate, ...], tuple[Relay, ...]]
"""A message's content for one group."""
Relays = Mapping[Group, Mapping[Group, Sequence[Feed]]]
"""Legs by the group whose owner decides them, then by their own group."""


class RelayRoutes:
    """The terms and macros of a plan, indexed for messages that one group relays to another."""

    def __init__(self, plan: Plan) -> None:
        """Index a plan."""
        self._owners = {term.id: macro.fingerprint for macro in plan.macros for leg in macro.legs for term in leg.terms}
        terms = [term for leg in plan.legs for term in leg.terms] + [term for rule in plan.rules for term in rule.terms]
        self._needs = {term.id: term.needs for term in terms}

    def parts(
        self, feeds: Mapping[Group, Sequence[Feed]], candidates: Mapping[Group, Sequence[Candidate]], relays: Relays
    ) -> list[Part]:
        """Return the message for each group, those that relay it last. Terms that can't be true are omitted.

        Args:
            feeds: what the event satisfies, macros that others need first.
            candidates: the rules that it may match.
            relays: legs that other groups decide.
        """

        def part(group: Group, entries: Sequence[Feed] = ()) -> Part:
            fed = {self._owners[feed.term] for feed in entries}

            def counts(term: str) -> bool:
                needs = self._needs[term]
                # Terms that need no window were sent to the group at first.
                return needs <= fed and not (entries and not needs)

            found = list(entries)
            for feed in feeds.get(group, ()):
                if counts(feed.term):
                    fed.add(self._owners[feed.term])
                    found.append(feed)
            onward = []
            # Each step reaches only macros that need those before, so it ends although groups may have equal values.
            for other, legs in relays.get(group, {}).items():
                if ready := [leg for leg in legs if counts(leg.term)]:
                    onward.append(Relay(*part(other, ready)))
            matching = tuple(each for each in candidates.get(group, ()) if counts(each.term))
            return group, tuple(found), matching, tuple(onward)

        parts = [part(group) for group in dict.fromkeys((*feeds, *candidates, *relays))]
        return sorted((each for each in parts if any(each[1:])), key=lambda each: bool(each[3]))


GROUP_MISSING = "group_missing"
"""Events rejected because they lack a group field."""
VALUE_MISSING = "value_missing"
"""Events rejected because they lack the field whose values are counted."""
MAX_STORED_BYTES = 4 << 10
"""Limit of a field's value that a window stores for an output: each record of its state repeats it."""
_NOTHING: Mapping[str, Value] = MappingProxyType({})


@dataclass(slots=True)
class Gathered:
    """The terms of stateful rules that one event satisfies, gathered by group."""

    recent: RecentlySent
    routes: RelayRoutes
    host_id: str
    """The host whose event it is."""
    appended: int
    """When the broker received the event, ns; 0 if none did."""
    matching: tuple[str, ...] = ()
    """The ids of the rules' terms that are true of the event."""
    feeds: dict[Group, list[Feed]] = field(default_factory=dict)
    candidates: dict[Group, list[Candidate]] = field(default_factory=dict)
    relays: dict[Group, dict[Group, list[Feed]]] = field(default_factory=dict)
    """Legs by the group whose owner decides them, then by their own."""
    missing: set[tuple[str, str]] = field(default_factory=set)
    """Macros that could not count the event, with the reason: once each, however many terms are true."""
    known: set[tuple[str, Group]] = field(default_factory=set)
    """Macros of type first_seen that are false in a group, which then needs no message."""
    fresh: list[tuple[SeenKey, int]] = field(default_factory=list)
    """The values that are sent, each with the share to which it counts."""
    groups: dict[Sequence[str], Group] = field(default_factory=dict)
    """The groups that legs have, by their fields: most rules have the same."""

    def feed(
        self,
        term: Term,
        macro: StatefulMacro,
        fields: tuple[str, ...],
        values: tuple[Any, ...],
        rule_name: str | None,
        *,
        homes: Iterable[Group] = (),
    ) -> None:
        """Add a term of a leg that is true of the event.

        Args:
            term: of the leg.
            macro: the leg's.
            fields: of the group, then the counted ones, then those that are stored.
            values: of these fields.
            rule_name: the value that is counted, if rules are.
            homes: the groups that may decide the leg, if another group does.
        """
        size = len(macro.correlation.group_by)
        group = self.groups[fields[:size]] = group_of(values[:size])
        if None in group:
            self.missing.add((macro.fingerprint, GROUP_MISSING))
            return
        value = rule_name
        if count := len(macro.correlation.fields):
            counted = group_of(values[size : size + count])
            if None in counted:
                self.missing.add((macro.fingerprint, VALUE_MISSING))
                return
            value = combined([each or "" for each in counted])
            size += count
        elif macro.correlation.kind.counts_hosts:
            # An event of a host that is known may still match rules, so those that may match others are sent.
            value = combined((self.host_id, *self.matching))
        if value is not None and macro.correlation.kind.remembers_values:
            key = (macro.fingerprint, group, value)
            bringer = dict(zip(fields[size:], values[size:], strict=True))
            share = share_of(self.host_id, bringer_of(bringer))
            if self.recent.covers(key, share, self.appended):
                self.known.add(key[:2])
                return
            self.fresh.append((key, share))
        if not homes and self._is_over(term, group):
            return
        stored = stored_values(fields[size:], values[size:])
        fed = Feed(term.id, value, stored)
        if not homes:
            self.feeds.setdefault(group, []).append(fed)
            return
        for home in self._possible(term, homes):
            self.relays.setdefault(home, {}).setdefault(group, []).append(fed)

    def candidate(
        self,
        term: Term,
        rule: StatefulRule,
        groups: Iterable[Group],
        own: Callable[[], Mapping[str, Any]],
        content: Callable[[], Content],
    ) -> None:
        """Add a term of a rule that is true of the event.

        Args:
            term: of the rule.
            rule: the rule.
            groups: those that it may have.
            own: returns the values by which repeats are suppressed, except those of the group.
            content: returns the content of the alert.
        """
        possible = self._possible(term, groups)
        if not possible:
            return
        if rule.suppress.by == rule.group_by:
            for group in possible:
                self.candidates.setdefault(group, []).append(Candidate(term.id, group, content))
            return
        values = own()
        others = dict(zip(values, group_of(tuple(values.values())), strict=True))
        for group in possible:
            of_group = dict(zip(rule.group_by, group, strict=True))
            by = tuple(of_group[name] if name in of_group else others[name] for name in rule.suppress.by)
            self.candidates.setdefault(group, []).append(Candidate(term.id, by, content))

    def pre_matches(
        self,
        origin: EventOrigin,
        time: int,
        hostname: str,
        account: Account,
        *,
        is_established: bool = True,
        weight: int = 1,
    ) -> list[PreMatch]:
        """Return the event for each group. account: that of the user who caused it."""
        appended = self.appended
        parts: Sequence[Part]
        if self.relays:
            parts = self.routes.parts(self.feeds, self.candidates, self.relays)
        else:
            groups = dict.fromkeys((*self.feeds, *self.candidates))
            parts = [
                (each, tuple(self.feeds.get(each, ())), tuple(self.candidates.get(each, ())), ()) for each in groups
            ]
        return [
            PreMatch(
                origin,
                time,
                hostname,
                group,
                feeds,
                matching,
                appended,
                is_established,
                weight,
                relays=relays,
                account=account,
            )
            for group, feeds, matching, relays in parts
        ]

    def _possible(self, term: Term, groups: Iterable[Group]) -> list[Group]:
        """Return the groups in which a term can be true.

        An event without a group meets no window; terms that need no window can be true nevertheless.
        """
        possible = [group for group in dict.fromkeys(groups) if None not in group or not term.needs]
        return [group for group in possible if not self._is_over(term, group)]

    def _is_over(self, term: Term, group: Group) -> bool:
        """Return whether a term can't be true: a macro that it needs is false."""
        return bool(self.known) and any((name, group) in self.known for name in term.needs)


@lru_cache(maxsize=1024, typed=True)
def group_of(values: tuple[Any, ...]) -> Group:
    """Return the group that fields with these values have."""
    return tuple(None if value is None else clipped(as_text(value)) for value in values)


def stored_values(fields: Sequence[str], values: Sequence[Any]) -> Mapping[str, Value]:
    """Return the values of fields that a window stores for its output."""
    return clipped_values(dict(zip(fields, values, strict=True)), MAX_STORED_BYTES) if fields else _NOTHING


def stored_fields(plan: Plan, bringer: Sequence[str]) -> Mapping[tuple[str, str], tuple[str, ...]]:
    """Return the fields of each leg's events that outputs name, or that first_seen needs.

    Args:
        plan: rules and macros.
        bringer: the fields that identify the bringer of a value.

    Returns:
        By fingerprint of the macro and name of the leg.
    """
    macros = {macro.fingerprint: macro for macro in plan.macros}
    found: dict[tuple[str, str], dict[str, None]] = {
        (macro.fingerprint, leg.name): dict.fromkeys(bringer)
        for macro in plan.macros
        if macro.correlation.kind.remembers_values
        for leg in macro.legs
    }
    for rule in plan.rules:
        for token in output_pieces(rule.output)[1]:
            for fingerprint in rule.macros if token.what == "leg" else ():
                if token.leg in macros[fingerprint].correlation.legs:
                    found.setdefault((fingerprint, token.leg), {})[token.field] = None
    return {key: tuple(fields) for key, fields in found.items()}
