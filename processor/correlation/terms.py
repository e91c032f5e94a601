"""Make the alert of a stateful rule: a pre-matched event and its window in, an alert out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b

from foundation.quantities import iso8601_zulu
from processor.correlation.windows import Fired, UpdateOutcome
from processor.matching.pre_match import Candidate, PreMatch, Span, parts_of
from processor.output.redaction import Redact
from processor.rule import MISSING, PREVALENCE_DIGEST, PREVALENCE_FIELDS, WindowToken, output_pieces
from processor.splitting import Plan, StatefulMacro, StatefulRule, Term
from schemas.alert import Alert, Value, Window, alert_id
from schemas.catalog.fields import SYSCALL


@dataclass(frozen=True, slots=True)
class IndexedPlan:
    """A plan, indexed by terms."""

    legs: Mapping[str, tuple[int, int, Term]]
    """By term id: the indexes of macro and leg, and the term."""
    gates: Mapping[str, Term]
    """By id, the terms of legs that the owners of other groups decide before they relay them."""
    terms: Mapping[str, tuple[StatefulRule, Term]]
    macros: tuple[StatefulMacro, ...]
    timespans: Mapping[str, int]
    spans: Mapping[str, Span]
    """By fingerprint, the times of the macros of types first_seen and prevalence."""
    tokens: Mapping[str, tuple[WindowToken, ...]]
    """By output text, since two versions of a rule may be active for a while."""
    names: Mapping[str, str]
    """By fingerprint, the names of the stateful macros."""
    redact: Redact

    @classmethod
    def of(cls, plan: Plan) -> "IndexedPlan":
        """Index a plan."""
        legs = {
            term.id: (index, number, term)
            for index, macro in enumerate(plan.macros)
            for number, leg in enumerate(macro.legs)
            for term in leg.terms
        }
        gates = {term.id: term for leg in plan.legs if leg.home for term in leg.terms if term.is_stateful}
        decided = {
            name: (*legs[name][:2], replace(term, needs=frozenset(), forbids=frozenset()))
            for name, term in gates.items()
        }
        return cls(
            legs=legs | decided,
            gates=gates,
            terms={term.id: (rule, term) for rule in plan.rules for term in rule.terms},
            macros=plan.macros,
            timespans={macro.fingerprint: macro.correlation.timespan for macro in plan.macros},
            spans={
                macro.fingerprint: Span.of(each.timespan, each.learning, each.threshold * each.kind.counts_hosts)
                for macro in plan.macros
                if (each := macro.correlation).kind.remembers_values
            },
            tokens={rule.output: output_pieces(rule.output)[1] for rule in plan.rules},
            names={macro.fingerprint: macro.name for macro in plan.macros},
            redact=plan.redact,
        )


def stateful_alert(
    pre_match: PreMatch,
    candidate: Candidate,
    rule: StatefulRule,
    windows: Mapping[str, Fired],
    tokens: tuple[WindowToken, ...],
) -> Alert:
    """Return the alert of a rule whose condition is true.

    windows: by macro, the windows that the event made true, that of the alert first; empty if the rule only suppresses
    repeats.
    """
    if candidate.content is None:
        raise ValueError("a match without content can only be counted")
    content = candidate.content()
    text, of_window = filled(content.texts, tokens, windows, pre_match.group, is_partial=pre_match.is_partial)
    origin = pre_match.origin
    # Suppressing repeats doesn't change the alert's id.
    group = tuple(str(value) for value in pre_match.group) if rule.macros else ()
    cause = (origin.host_id, origin.boot_id, origin.collector_start, origin.sequence, origin.index)
    window = None
    if (fired := next(iter(windows.values()), None)) is not None:
        named = dict(zip(rule.group_by, pre_match.group, strict=True))
        # What few hosts have is one event, whoever had it before.
        count, first = (1, fired.last) if fired.hosts else (fired.count, fired.first)
        window = Window(count, first, fired.last, named, fired.values, leg_values(fired))
    if rule.group_by == (PREVALENCE_DIGEST,) and (rare := _of_hosts(windows)) is not None:
        of_window |= {"proc.exe.hosts": rare.hosts, "proc.exe.first_seen": rare.first}
    return Alert(
        id=alert_id(pre_match.time, rule.name, *group, *cause),
        time=pre_match.time,
        rule=rule.name,
        priority=rule.priority,
        output=text,
        output_fields={**content.fields, **of_window},
        tags=rule.tags,
        source=rule.source,
        hostname=pre_match.hostname,
        host_id=origin.host_id if rule.source == SYSCALL else "",
        event=content.event,
        window=window,
        description=rule.description,
        response=rule.response,
    )


WHO_AND_WHAT = (
    *("evt.hostname", "user.name", "proc.exepath"),
    *("fd.name", "fd.realpath", "fs.path.name", "fs.path.source", "fs.path.target"),
)
"""The fields of an event in which repeats may differ, even if the rule's output doesn't name them."""


def repeat_fields(pre_match: PreMatch, candidate: Candidate, plan: IndexedPlan) -> Mapping[str, Value]:
    """Return the values of an event in fields in which repeats of its alert may differ.

    Without content, the event has only the values that windows count.
    """
    if candidate.content is None:
        counted: dict[str, Value] = {}
        for feed in pre_match.feeds:
            if feed.value is not None and feed.term in plan.legs:
                fields = plan.macros[plan.legs[feed.term][0]].correlation.fields
                counted |= dict(zip(fields, parts_of(feed.value, len(fields)), strict=True)) if fields else {}
        return counted
    content = candidate.content()
    event = {"evt.hostname": pre_match.hostname, **content.event}
    others = {name: event.get(name) for name in WHO_AND_WHAT if event.get(name) not in content.fields.values()}
    return {**others, **content.fields}


AT_LEAST = "correlation.at_least"
"""The output field of an alert whose window would count more events, which were left out."""


def filled(
    texts: Sequence[str],
    tokens: Sequence[WindowToken],
    windows: Mapping[str, Fired],
    group: Sequence[str | None],
    *,
    is_partial: bool = False,
) -> tuple[str, dict[str, Value]]:
    """Insert the tokens' values between the texts; return the text, and the values by their keys.

    windows: by macro; empty if no window had to be met. is_partial: events that windows would count were left out.
    """
    values: dict[str, Value] = {AT_LEAST: True} if is_partial and windows else {}
    parts = [texts[0]]
    for token, text in zip(tokens, texts[1:], strict=True):
        value = _value(token, windows, group)
        values[token.key] = value
        at_least = "at least " if AT_LEAST in values and token.what == "count" else ""
        parts += [at_least + _shown(token, value), text]
    return "".join(parts), values


def group_text(group: Sequence[str | None]) -> str:
    """Write a group's values as one text."""
    return ", ".join(MISSING if value is None else value for value in group)


def leg_values(fired: Fired) -> Mapping[str, Mapping[str, Value]]:
    """Return each leg's event: its time, its host, and the fields that outputs name."""
    return {name: {"evt.time": seen.time, "evt.hostname": seen.hostname, **seen.stored} for name, seen in fired.legs}


def _of_hosts(windows: Mapping[str, Fired]) -> Fired | None:
    return next((fired for fired in windows.values() if fired.hosts), None)


def _value(token: WindowToken, windows: Mapping[str, Fired], group: Sequence[str | None]) -> Value:
    if token.what == "group":
        return group_text(group)
    if token.what == "leg":
        legs = (leg_values(each).get(token.leg) for each in windows.values())
        return next((leg for leg in legs if leg is not None), {}).get(token.field)
    if token.what in PREVALENCE_FIELDS.values():
        rare = _of_hosts(windows)
        return None if rare is None else rare.hosts if token.what == "hosts" else rare.first
    fired = windows.get(token.macro) if token.macro else next(iter(windows.values()), None)
    if fired is None:
        return None
    if token.what == "values":
        return fired.values
    value: int = getattr(fired, token.what)
    return value


def _shown(token: WindowToken, value: Value) -> str:
    if value is None:
        return MISSING
    if isinstance(value, int) and (
        token.what in ("first", "last", "since") or token.field in ("evt.time", "evt.rawtime")
    ):
        return iso8601_zulu(value)
    if isinstance(value, tuple):
        return ", ".join(value)
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


Truths = dict[str, Fired | UpdateOutcome | None]
"""By fingerprint, for the stateful macros that an event reached: the window if it is true, None if it is false, and the
reason if the window rejected the event; then neither the macro nor its negation is true."""


def holds(term: Term, truths: Truths) -> bool:
    """Return whether the macros that a term needs are true, and those that it forbids are false."""
    return all(isinstance(truths.get(name), Fired) for name in term.needs) and all(
        truths.get(name) is None for name in term.forbids
    )


def unmet_repeats(term: Term, truths: Truths) -> int:
    """Return how many of an event's repeats preceded the time at which all macros that a term needs were true."""
    return max((fired.unmet for name in term.needs if isinstance(fired := truths[name], Fired)), default=0)


def relayed(pre_match: PreMatch, truths: Truths, gates: Mapping[str, Term]) -> Iterator[PreMatch]:
    """Yield the messages of an event for other groups, the same however often it is evaluated.

    truths: the results of the stateful macros for it in this group. gates: the terms that this group may decide, by id.
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
