"""A plan of stateful rules, indexed for the evaluation of pre-matched events."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from processor.correlation.first_seen.span import Span
from processor.correlation.plan.split import Plan, StatefulMacro, StatefulRule, Term
from processor.correlation.window_fields import WindowToken, pieces
from processor.detection.redaction import Redact


@dataclass(frozen=True, slots=True)
class IndexedPlan:
    """A plan, indexed by terms."""

    legs: Mapping[str, tuple[int, int, Term]]
    """By term id: the indexes of macro and leg, and the term."""
    gates: Mapping[str, Term]
    """By id, the terms of legs that other groups decide before they relay them."""
    terms: Mapping[str, tuple[StatefulRule, Term]]
    macros: tuple[StatefulMacro, ...]
    timespans: Mapping[str, int]
    spans: Mapping[str, Span]
    """By fingerprint, the times of the macros of type first_seen."""
    tokens: Mapping[str, tuple[WindowToken, ...]]
    """By output text, since two versions of a rule may be active for a while."""
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
                macro.fingerprint: Span.of(macro.correlation.timespan, macro.correlation.learning)
                for macro in plan.macros
                if macro.correlation.type == "first_seen"
            },
            tokens={rule.output: pieces(rule.output)[1] for rule in plan.rules},
            redact=plan.redact,
        )
