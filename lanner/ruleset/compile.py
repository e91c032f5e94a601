"""Compiles the rules of a process, with what the pipeline needs to know about them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from foundation.text import count_of
from lanner.ruleset.load import ActiveRules, RuleSources, find_rules, load_or_fail
from lanner.settings import Settings
from lanner.settings.faults import BadSettings, SettingFault
from lanner.wiring.rules import appended_faults
from processor.compiler.batch import Excludes
from processor.compiler.literals import names_to_resolve
from processor.compiler.mapping import compile_mapping
from processor.detection.detector import Detector
from processor.detection.repeats import RepeatedAlerts, RepeatLimits
from processor.evaluator import CompiledRuleset, compile_ruleset
from processor.language.ast import deep
from processor.language.printer import print_condition
from processor.output.redaction import Redaction
from processor.output.tokens import OutputError
from processor.pushdown.derive import derive, variables_in
from schemas.catalog.fields import K8S_AUDIT, SYSCALL
from schemas.catalog.priorities import BY_NAME
from schemas.filter import PushdownFilter

_MAX_NAMED = 3
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

    exclusions: Mapping[str, Excludes] | None
    """By event type that matters to a rule: whether an event of it can't match one. None if rules compare events with
    those before them, so that all matter."""
    has_audit_log: bool = False
    """True if `lanner run` follows a Kubernetes audit log."""

    @property
    def event_types(self) -> frozenset[str]:
        """The event types that the collector has to watch."""
        return self.ruleset.event_types

    @property
    def detector(self) -> Detector:
        """The detector of the rules that a single event decides."""
        return self.ruleset.detector

    @property
    def host_names(self) -> tuple[str, ...]:
        """Host names that rules compare addresses with."""
        return names_to_resolve(self.ruleset.conditions)

    @property
    def pushdown_filter(self) -> PushdownFilter:
        """The pushdown filter: the events that could match a rule."""
        return derive(self.ruleset.conditions, self.event_types, variables=self.variables)

    def detects_shadow_read(self) -> bool:
        """Return whether a rule alerts if root reads /etc/shadow with cat: what `lanner run` suggests to try."""
        rules = (rule for rule in self.active_rules.rules if rule.name in self.ruleset.detector.rule_names)
        return any(compile_mapping(rule.condition)(SHADOW_READ) for rule in rules)

    @property
    def count(self) -> int:
        """The number of active rules on system calls."""
        return len(self.ruleset.names_of(SYSCALL))


def active_text(detection: CompiledDetection) -> str:
    """Return how many rules are active, where they come from, and which are off."""
    off = [rule.name for rule in detection.active_rules.rules if not rule.enabled]
    audit = len(detection.ruleset.names_of(K8S_AUDIT)) if detection.has_audit_log else 0
    others = len(detection.ruleset.names_of()) - detection.count - audit
    idle = f"; {count_of(audit, 'rule')} on Kubernetes audit events" if audit else ""
    idle += f"; {count_of(others, 'rule')} on other sources not evaluated here" if others else ""
    named = ", ".join(off[:_MAX_NAMED]) + (f" and {len(off) - _MAX_NAMED} more" if len(off) > _MAX_NAMED else "")
    return f"{count_of(detection.count, 'rule')} from {detection.origin} active{f', off: {named}' if off else ''}{idle}"


def load_detection(settings: Settings, *, warnings: bool = True) -> CompiledDetection:
    """Read, select and compile the rules. Raises BadInput with all errors."""
    return detection_of(settings, find_rules(settings), warnings=warnings)


def detection_of(settings: Settings, sources: RuleSources, *, warnings: bool = True) -> CompiledDetection:
    """Select and compile rules that have been read. Raises BadInput with all errors."""
    if faults := appended_faults(settings):
        raise BadSettings(*faults)
    loaded = load_or_fail(settings, sources, warnings=warnings)
    rules = [rule for rule in loaded.rules if rule.enabled]
    redact = Redaction(settings.redact).alert
    try:
        ruleset = compile_ruleset(
            rules,
            loaded.correlations,
            loaded.suppressed,
            minimum_priority=BY_NAME[settings.priority],
            rule_matching=settings.rule_matching,
            bare_outputs=loaded.bare_outputs,
            extra_fields=loaded.extra_fields,
            redact=redact,
            max_group_values=settings.first_seen.values_per_group,
        )
    except OutputError as error:
        raise BadSettings(SettingFault("append_output", f"append_output: {error}.")) from None
    with deep():
        texts = [print_condition(condition) for condition in ruleset.conditions]
    texts += [rule.output for rule in rules]
    texts += [name for leg in ruleset.plan.legs for name in leg.fields]
    texts += [name for rule in ruleset.plan.rules for name in rule.suppress.by]
    texts += [form or name for fields in loaded.extra_fields.values() for name, form in fields.items()]
    exclusions = None if any(_PREVIOUS in text for text in texts) else ruleset.exclusions
    variables = variables_in(texts)
    has_audit_log = settings.kubernetes_audit.file is not None
    return CompiledDetection(
        ruleset, sources.origin, loaded.notices, sources.watched, variables, loaded, exclusions, has_audit_log
    )


def repeated_alerts(settings: Settings) -> RepeatedAlerts:
    """Return the suppression of repeated alerts, as configured."""
    configured = settings.repeated_alerts
    if not configured.enabled:
        return RepeatedAlerts(None)
    limits = RepeatLimits(
        configured.identical_of_process,
        configured.identical,
        configured.of_process,
        configured.under_root,
        configured.period_seconds * 1_000_000_000,
    )
    return RepeatedAlerts(limits)
