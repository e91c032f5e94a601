"""Compiles the rules of a process, with what the pipeline needs to know about them."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from foundation.text import count_of
from lanner.ruleset.active import ActiveRules, RuleChoices
from lanner.ruleset.stored import RuleStore, RuleUses, StoredRules
from processor.actions.planning import Planner
from processor.actions.policies import policies_by_rule
from processor.compiler.batch import Excludes
from processor.compiler.mapping import compile_mapping
from processor.compiler.operands import names_to_resolve
from processor.detection.stage import CompiledRuleset, compile_ruleset
from processor.language.ast import deep
from processor.language.printer import print_condition
from processor.output.redaction import Redaction
from processor.pushdown.derive import derive, has_looked_up_names, variables_in
from processor.rule import Rule, RulesetOptions
from schemas.catalog.fields import K8S_AUDIT, SYSCALL
from schemas.catalog.priorities import BY_NAME
from schemas.catalog.system_calls import ANSWERED
from schemas.filter import PushdownFilter, decode_filter, encode_filter

_PREVIOUS = "evt.deltatime"
"""Fields that depend on the event before."""
SHADOW_READ = MappingProxyType({
    "evt.type": "openat", "evt.dir": "<", "evt.rawres": 3, "evt.res": "SUCCESS", "evt.failed": False,
    "evt.is_open_read": True, "evt.is_open_write": False, "evt.arg.flags": "O_RDONLY", "evt.num": 1,
    "fd.name": "/etc/shadow", "fd.directory": "/etc", "fd.filename": "shadow", "fd.type": "file", "fd.typechar": "f",
    "proc.name": "cat", "proc.exepath": "/usr/bin/cat", "proc.cmdline": "cat /etc/shadow", "proc.args": "/etc/shadow",
    "proc.pname": "sudo", "proc.aname[1]": "sudo", "proc.aname[2]": "bash", "proc.tty": 34816, "proc.duration": 1_000,
    "user.name": "root", "user.uid": 0, "container.id": "host", "container.name": "host",
})  # fmt: skip
"""An event that people can cause without harm."""


@dataclass(frozen=True, slots=True)
class CompiledDetection:
    """The compiled rules and where they come from."""

    ruleset: CompiledRuleset
    origin: str
    notices: tuple[str, ...]
    watched: tuple[Path, ...]
    variables: frozenset[str]
    """Names of the environment variables that rules use: the collector sends no others."""
    active_rules: ActiveRules
    """The loaded rules."""

    has_looked_up_names: bool
    """True if rules use the names that programs look up for addresses."""
    compares_events: bool
    """True if rules compare events with those before them, so that all matter."""
    host_names: tuple[str, ...]
    """Host names that rules compare addresses with."""
    has_audit_log: bool = False
    """True if `lanner run` follows a Kubernetes audit log."""
    stored_filter: bytes | None = None
    """The encoded pushdown filter, if it is stored."""

    @property
    def event_types(self) -> frozenset[str]:
        """The event types that the collector has to watch."""
        return self.ruleset.event_types | (frozenset(ANSWERED) if self.has_looked_up_names else frozenset())

    @property
    def exclusions(self) -> Mapping[str, Excludes] | None:
        """By event type that matters to a rule: whether an event of it can't match one. None if all events matter."""
        return None if self.compares_events else self.ruleset.exclusions

    @property
    def pushdown_filter(self) -> PushdownFilter:
        """The pushdown filter: the events that could match a rule."""
        if self.stored_filter is not None:
            return decode_filter(self.stored_filter)
        types, names = self.ruleset.event_types, self.has_looked_up_names
        return derive(self.ruleset.conditions, types, variables=self.variables, names=names)

    def detects_shadow_read(self) -> bool:
        """Return whether a rule alerts if root reads /etc/shadow with cat: what `lanner run` suggests to try."""
        rules = (rule for rule in self.active_rules.rules if rule.name in self.ruleset.detector.rule_names)
        return any(compile_mapping(rule.condition)(SHADOW_READ) for rule in rules)

    @property
    def count(self) -> int:
        """The number of active rules on system calls."""
        return len(self.ruleset.names_of(SYSCALL))


def active_text(detection: CompiledDetection) -> str:
    """Return how many rules are active, where they come from, and how many are off."""
    off = [rule.name for rule in detection.active_rules.rules if not rule.enabled]
    audit = len(detection.ruleset.names_of(K8S_AUDIT)) if detection.has_audit_log else 0
    others = len(detection.ruleset.names_of()) - detection.count - audit
    idle = f"; {count_of(audit, 'rule')} on Kubernetes audit events" if audit else ""
    idle += f"; {count_of(others, 'rule')} on other sources not evaluated here" if others else ""
    how = "`lanner rules list --disabled` has them, -o 'rules[].enable.rule=NAME' turns one on"
    why = f", {len(off):,} off in their files or by settings ({how})" if off else ""
    return f"{count_of(detection.count, 'rule')} from {detection.origin} active{why}{idle}"


def compile_rules(choices: RuleChoices, *, warnings: bool = True, folder: Path | None = None) -> CompiledDetection:
    """Load, select and compile rules.

    Args:
        choices: the rules.
        warnings: whether the notices include warnings.
        folder: where loaded rules are stored for the next start; None to store none.

    Raises:
        BadInput: With all errors.
        OutputError: For what is appended to outputs.
    """
    store = None if folder is None else RuleStore(folder, choices, warnings=warnings)
    stored = None if store is None else store.read()
    if stored is None:
        # Imported here, because the parsers and checks take 10 MB.
        from lanner.ruleset.load import load_or_fail  # noqa: PLC0415

        loaded = load_or_fail(choices, warnings=warnings)
    else:
        loaded = stored.rules
        # As loading does: no event waits until a list is read.
        for each in loaded.indicators.values():
            with suppress(OSError):
                each.indicators.load()
    rules = [rule for rule in loaded.rules if rule.enabled]
    options = options_of(choices, loaded, has_checked_outputs=stored is not None)
    if stored is not None:
        options = replace(options, classes=stored.classes)
    ruleset = compile_ruleset(rules, loaded.macros, options)
    uses = _uses(rules, ruleset, loaded) if stored is None else stored.uses
    detection = CompiledDetection(
        ruleset,
        choices.origin,
        loaded.notices,
        choices.watched,
        uses.variables,
        loaded,
        uses.has_looked_up_names,
        uses.compares_events,
        uses.host_names,
        choices.has_audit_log,
        None if stored is None else stored.encoded_filter,
    )
    if store is not None and stored is None:
        classes = tuple(ruleset.detector.compiled.classes), tuple(ruleset.pre_matcher.compiled.classes)
        store.write(StoredRules(loaded, encode_filter(detection.pushdown_filter), uses, classes))
    return detection


def options_of(choices: RuleChoices, loaded: ActiveRules, *, has_checked_outputs: bool = False) -> RulesetOptions:
    """Return how rules are compiled. has_checked_outputs: whether their outputs were compiled before."""
    redact = Redaction(choices.redact).alert
    planned = policies_by_rule(loaded.actions, loaded.rules)
    if planned:
        stated = Planner(planned).stated
    return RulesetOptions(
        minimum_priority=BY_NAME[choices.priority],
        rule_matching=choices.rule_matching,
        bare_outputs=loaded.bare_outputs,
        extra_fields=loaded.extra_fields,
        # What an action would hit is named by what the event states, so it is masked like that.
        redact=(lambda alert: redact(stated(alert))) if planned else redact,
        max_group_values=choices.group_values,
        has_checked_outputs=has_checked_outputs,
        enrichments=loaded.enrichments,
        python=choices.python,
    )


def _uses(rules: Sequence[Rule], ruleset: CompiledRuleset, loaded: ActiveRules) -> RuleUses:
    """Find out what enabled rules use."""
    with deep():
        texts = [print_condition(condition) for condition in ruleset.conditions]
    texts += [rule.output for rule in rules]
    texts += [name for rule in rules if rule.python is not None for name in rule.python.fields]
    texts += [name for leg in ruleset.plan.legs for name in leg.fields]
    texts += [name for rule in ruleset.plan.rules for name in rule.suppress.by]
    texts += [form or name for fields in loaded.extra_fields.values() for name, form in fields.items()]
    return RuleUses(
        variables_in(texts),
        has_looked_up_names(texts),
        any(_PREVIOUS in text for text in texts),
        names_to_resolve(ruleset.conditions),
    )
