"""Rules and correlations as values: the attributes that detection and correlation need, and the texts of alerts.

An output is cut at the tokens whose values come from a window: ``%correlation``, and fields that correlation computes.
Its pieces are filled in at detection, the tokens at correlation. So no value of an event can be taken for a token.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from foundation.yaml.nodes import Node as YamlNode
from foundation.yaml.nodes import SourceLocation
from foundation.yaml.text import Span, TracedText
from processor.language.ast import Node, checks, fields_in
from processor.language.tokens import SpanError
from processor.output.redaction import Redact, unredacted
from processor.python.limits import DEFAULT_LIMITS, PythonLimits
from schemas.catalog.fields import FIELDS, SOURCES, SYSCALL, FieldSpec, field_problem, has_field, resolve_field
from schemas.catalog.priorities import Priority
from schemas.limits import clipped

if TYPE_CHECKING:
    from processor.compiler.batch import TypeClass

Kind = Literal["event_count", "value_count", "temporal", "temporal_ordered", "first_seen", "prevalence"]

_COUNTING = ("type", "group-by", "timespan", "condition", "rules")
_TEMPORAL = ("type", "group-by", "timespan", "macros", "rules", "aliases")
MAX_GROUP_VALUES = 20_000
"""The default of the maximum number of values that first_seen knows of a group."""
FIRST_SEEN_PERIOD = 60_000_000_000
"""How long repeats are counted of rules that only require new values, ns; they are redelivered events."""
PREVALENCE_PERIOD = 86_400_000_000_000
"""The same of rules about what few hosts have, at most: it stays rare while it goes on, ns."""
HOST = "host"
"""What prevalence counts in place of a field's values: the ids of hosts."""
MAX_RULE_TEXT_BYTES = 2_000
"""Limit of a rule's description, and of its response, in an alert."""
RuleMatching = Literal["first", "all"]
What = Literal["count", "group", "first", "last", "values", "leg", "hosts", "since"]
_WINDOW_VALUES: tuple[What, ...] = ("count", "group", "first", "last", "values", "leg")
PREVALENCE_DIGEST = "proc.exe.sha256"
"""The only group-by field of macros of type prevalence that give PREVALENCE_FIELDS their values."""
PREVALENCE_FIELDS: Mapping[str, What] = {"proc.exe.hosts": "hosts", "proc.exe.first_seen": "since"}
_PREVALENCE = r"%(proc\.exe\.(?:hosts|first_seen))(?![A-Za-z0-9_\[]|\.[A-Za-z])"
_START = re.compile(rf"%correlation\b|{_PREVALENCE}")
_TOKEN = re.compile(
    r"%correlation\.(?:group(?![A-Za-z0-9_])|(count|first|last|values)(?![A-Za-z0-9_])(?:\[([A-Za-z0-9_]+)\])?"
    r"|leg\[([A-Za-z0-9_]+)\]\.([A-Za-z][A-Za-z0-9_]*(?:\.[A-Za-z][A-Za-z0-9_]*)*(?:\[[^\]]*\])?))"
    rf"|{_PREVALENCE}"
)
WINDOW_TOKEN_FORMS = (
    f"%correlation is followed by {', '.join('.' + name for name in _WINDOW_VALUES[:-1])} or .leg[NAME].FIELD; "
    "of several macros, .count[MACRO] names one"
)
MISSING = "<NA>"


@dataclass(frozen=True, slots=True)
class CorrelationType:
    """The facts about a type that the loader and both stages need; windows have a function to update for each."""

    keys: tuple[str, ...]
    """The keys that the mapping may have."""
    is_temporal: bool = False
    """True if it combines several macros instead of comparing a number."""
    is_ordered: bool = False
    """True if its last leg alone completes it; its events can't wait for another group's."""
    counts_values: bool = False
    """True if it compares a number of different values instead of events."""
    remembers_values: bool = False
    """True if it is true for a value that its group hasn't had before: it knows values, and has no window."""
    counts_hosts: bool = False
    """True if the values that it knows are the hosts that had its group, and their number is compared."""


TYPES: Mapping[Kind, CorrelationType] = {
    "event_count": CorrelationType(_COUNTING),
    "value_count": CorrelationType(_COUNTING, counts_values=True),
    "temporal": CorrelationType(_TEMPORAL, is_temporal=True),
    "temporal_ordered": CorrelationType((*_TEMPORAL, "until"), is_temporal=True, is_ordered=True),
    "first_seen": CorrelationType(("type", "group-by", "field", "lookback", "learning"), remembers_values=True),
    "prevalence": CorrelationType(
        ("type", "group-by", "lookback", "learning", "condition"), remembers_values=True, counts_hosts=True
    ),
}


@dataclass(frozen=True, slots=True)
class Alias:
    """A name of the group whose value each leg has in a field of its own."""

    name: str
    fields: tuple[tuple[str, str], ...]
    """Field of each leg."""


@dataclass(frozen=True, slots=True)
class Correlation:
    """The ``correlation`` mapping of a macro."""

    type: Kind
    group_by: tuple[str, ...]
    """Fields, or names of aliases."""
    timespan: int
    """Nanoseconds; for first_seen and prevalence, the lookback."""
    threshold: int = 1
    """The smallest number of events or values that is enough, or of hosts that is too many for prevalence; unused by
    the temporal types."""
    fields: tuple[str, ...] = ()
    """The fields whose values are counted; first_seen may combine several."""
    legs: tuple[str, ...] = ()
    """The macros of the temporal types, in order."""
    aliases: tuple[Alias, ...] = ()
    learning: int = 0
    """How long a new group of first_seen only learns, nanoseconds."""
    is_over_rules: bool = False
    """True if its legs are rules instead of macros."""
    counts_rules: bool = False
    """True if value_count counts the names of rules instead of a field's values."""
    until: str = ""
    """The macro whose events end the sequences of temporal_ordered that began before; empty for none."""

    @property
    def kind(self) -> CorrelationType:
        """The facts about its type."""
        return TYPES[self.type]

    @property
    def value_fields(self) -> tuple[str, ...]:
        """The names of the parts of a value that it knows."""
        return (HOST,) if self.kind.counts_hosts else self.fields

    @property
    def macros(self) -> tuple[str, ...]:
        """All macros that it combines: the legs, then the one that ends sequences."""
        return (*self.legs, self.until) if self.until else self.legs

    def group_fields(self, leg: str = "") -> tuple[str, ...]:
        """Return the fields of a leg's events that have the group values; without aliases, those of every leg."""
        named = {alias.name: dict(alias.fields).get(leg) for alias in self.aliases}
        return tuple(named.get(name) or name for name in self.group_by)


@dataclass(frozen=True, slots=True)
class Suppress:
    """How a rule's repeats are reported: the first at once, the others in one summary for each period."""

    by: tuple[str, ...]
    """Fields, or names of the group: repeats are counted separately for each of their values."""
    period: int
    """Nanoseconds."""


def implicit_suppress(correlations: Sequence[Correlation]) -> Suppress:
    """Return how repeats of a rule without `suppress` are reported, from its stateful macros.

    A new value is no repeat of another new value of its group, and is not new again soon. What few hosts have is
    reported once a day.
    """
    by = dict.fromkeys(correlations[0].group_by)
    for each in correlations:
        by.update(dict.fromkeys(each.fields if each.kind.remembers_values else ()))
    spans = [
        min(each.timespan, PREVALENCE_PERIOD) if each.kind.counts_hosts else each.timespan
        for each in correlations
        if each.kind.counts_hosts or not each.kind.remembers_values
    ]
    return Suppress(tuple(by), max(spans, default=FIRST_SEEN_PERIOD))


@dataclass(frozen=True, slots=True)
class LoadedMacro:
    """A macro after all appends and redefinitions."""

    name: str
    condition_text: str
    """The condition as written, including appended text."""
    condition: Node
    """The tree with macros resolved; spans are offsets in the traced text."""
    extensions: Mapping[str, YamlNode] = field(compare=False)
    location: SourceLocation = field(compare=False)
    traced: TracedText = field(compare=False, repr=False)
    correlation: Correlation | None = None
    """The correlation of a stateful macro, if it has no errors."""


@dataclass(frozen=True, slots=True)
class RuleException:
    """The fields and comparisons of a rule's exception; others append values to it by its name."""

    name: str
    fields: tuple[str, ...]
    operators: tuple[str, ...]
    """One for each field."""


@dataclass(frozen=True, slots=True)
class PythonFunction:
    """A function of a Python rule file."""

    file: str
    code: str = field(repr=False)
    """The text of the whole file."""
    name: str
    fields: tuple[str, ...]
    """The fields that it declares."""


@dataclass(frozen=True, slots=True)
class Enrichment:
    """A function that adds output fields to the alerts of rules."""

    function: PythonFunction
    rules: tuple[tuple[str, SourceLocation], ...]
    """Their names, in which `*` matches any text, and where each is written."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule after all appends, overrides, redefinitions and exceptions, ready to be compiled."""

    index: int
    """Its position among all rules, which is that of its first definition."""
    name: str
    description: str
    condition: Node
    """The tree with lists, macros and exceptions; spans are offsets in the traced text, or in a macro's own text."""
    condition_text: str
    """The condition as written, including appended text, without exceptions."""
    output: str
    priority: Priority
    source: str
    tags: tuple[str, ...]
    """In alphabetical order."""
    enabled: bool
    event_types: frozenset[str]
    capture: bool
    capture_duration: int
    """Milliseconds; 0 if the rule sets none."""
    warn_evttypes: bool
    skip_if_unknown_filter: bool
    exceptions: tuple[RuleException, ...]
    active_exceptions: tuple[str, ...]
    """The exceptions that have values: the condition ends with one `not` for each, in this order."""
    extensions: Mapping[str, YamlNode] = field(compare=False)
    location: SourceLocation = field(compare=False)
    traced: TracedText = field(compare=False, repr=False)
    response: str = ""
    """The first steps when the rule alerts."""
    actions: tuple[str, ...] = ()
    """The names of action policies that its alerts request, beside those that name the rule."""
    suppress: Suppress | None = None
    """How its repeats are suppressed; None if it has no valid ``suppress``."""
    traced_output: TracedText | None = field(default=None, compare=False, repr=False)
    """The output, if its text is that of the files."""
    python: PythonFunction | None = None
    """Decides about the events that match the condition; None if the condition decides alone."""

    @property
    def file(self) -> str:
        """The name of the file that defines it."""
        return self.location.file

    @property
    def line(self) -> int:
        """The line of its definition, from 1."""
        return self.location.line

    def locate(self, span: Span) -> SourceLocation:
        """Return the location in the files of a span of the traced text."""
        return self.traced.locate(span)


def correlations_of(macros: Mapping[str, LoadedMacro]) -> dict[str, Correlation]:
    """Return the correlations of the stateful macros among these, by name."""
    return {name: macro.correlation for name, macro in macros.items() if macro.correlation is not None}


@dataclass(frozen=True, slots=True)
class RulesetOptions:
    """How rules are compiled."""

    minimum_priority: Priority = Priority.DEBUG
    """Rules of lower severity are left out; the highest severity has the smallest number."""
    rule_matching: RuleMatching = "first"
    """``first``: an event makes one alert, of the first matching rule; ``all``: one per rule. Stateful rules are always
    all evaluated."""
    append_container: bool = True
    """Append container and pod to each output on system calls that does not name them."""
    bare_outputs: Collection[str] = ()
    """The rules to whose outputs nothing is appended."""
    extra_fields: Mapping[str, Mapping[str, str | None]] = field(default_factory=dict)
    """By rule, further output fields: name to format, None for the field itself."""
    redact: Redact = unredacted
    """Completes an alert after rules were evaluated: masks secrets, and states which actions it requests."""
    max_group_values: int = MAX_GROUP_VALUES
    """The maximum number of values that first_seen knows of a group."""
    has_checked_outputs: bool = False
    """The outputs were compiled before: each is compiled again for its first alert, since most rules never alert."""
    classes: "tuple[Sequence[TypeClass], Sequence[TypeClass]] | None" = None
    """The classes of event types for rules that one event decides, and for stateful ones, if they were found before."""
    enrichments: Sequence[Enrichment] = ()
    """The functions that add output fields to alerts."""
    python: PythonLimits | None = DEFAULT_LIMITS
    """What the process of a Python rule file may take; None to call no function."""

    def appends_container(self, name: str, source: str) -> bool:
        """Return whether container and pod are appended to the output of a rule."""
        return self.append_container and source == SYSCALL and name not in self.bare_outputs


DEFAULT_OPTIONS = RulesetOptions()


def alert_text(text: str) -> str:
    """Return a rule's description or response for its alerts: on one line, and bounded."""
    return clipped(" ".join(text.split()), MAX_RULE_TEXT_BYTES)


def sources_of(condition: Node | None, fields: Iterable[str] = ()) -> frozenset[str]:
    """Return the sources whose events have all fields of a condition, whose macros are resolved, and all others.

    fields: as rules write them; names of groups and unknown fields are ignored.
    """
    read = set(fields)
    for check in () if condition is None else checks(condition):
        for side in (check.left, check.right):
            read.update(
                field.name if field.argument is None else f"{field.name}[{field.argument}]" for field in fields_in(side)
            )
    specs = [spec for name in read if (spec := _spec(name)) is not None]
    return frozenset(source for source in SOURCES if all(has_field(source, spec) for spec in specs))


def _spec(name: str) -> FieldSpec | None:
    found = resolve_field(name)
    return FIELDS.get(name) if found is None else found[0]


@dataclass(frozen=True, slots=True)
class WindowToken:
    """One value of a window to fill in."""

    what: What
    span: Span
    leg: str = ""
    field: str = ""
    macro: str = ""
    """The stateful macro whose window it is; empty for the first one that the event made true."""

    @property
    def key(self) -> str:
        """Its name among an alert's output fields."""
        if self.field in PREVALENCE_FIELDS and not self.leg:
            return self.field
        if self.what == "leg":
            return f"correlation.leg[{self.leg}].{self.field}"
        return f"correlation.{self.what}[{self.macro}]" if self.macro else f"correlation.{self.what}"


class BadWindowToken(SpanError):
    """A ``%correlation`` is not a known token."""


def window_tokens(output: str) -> Iterator[WindowToken]:
    """Find all tokens of an output. Raises BadWindowToken if what follows ``%correlation`` is none."""
    for start in _START.finditer(output):
        match = _TOKEN.match(output, start.start())
        if match is None:
            end = start.end() + len(re.match(r"[^\s,)%]*", output[start.end() :]).group())  # type: ignore[union-attr]
            raise BadWindowToken(f"invalid formatting token {output[start.start() + 1 : end]}", (start.start(), end))
        simple, macro, leg, field, computed = match.groups()
        if computed is not None:
            yield WindowToken(PREVALENCE_FIELDS[computed], match.span(), field=computed)
            continue
        if leg is not None and (wrong := field_problem(field)) is not None:
            raise BadWindowToken(wrong, match.span(4))
        what = next(name for name in _WINDOW_VALUES if name == (simple or ("group" if leg is None else "leg")))
        yield WindowToken(what, match.span(), leg or "", field or "", macro or "")


def without_window_tokens(output: str) -> str:
    """Replace all tokens by filler of the same length, so that the rest can be read as Falco's."""
    return _TOKEN.sub(lambda match: "-" * len(match.group()), output)


def output_pieces(output: str) -> tuple[tuple[str, ...], tuple[WindowToken, ...]]:
    """Cut an output at its tokens: there is one piece more than tokens. Raises BadWindowToken."""
    tokens = tuple(window_tokens(output))
    starts = [0, *(token.span[1] for token in tokens)]
    ends = [*(token.span[0] for token in tokens), len(output)]
    return tuple(output[start:end] for start, end in zip(starts, ends, strict=True)), tokens
