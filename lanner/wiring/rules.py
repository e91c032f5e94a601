"""The rules that settings choose, found and compiled, and errors of outputs in settings."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from foundation.text import OnNote, did_you_mean
from lanner.errors import BadInput
from lanner.ruleset.active import SHIPPED_FOLDER, ActiveRules, Appended, RuleChoices, on_top
from lanner.settings import Settings
from lanner.settings.faults import BadSettings, SettingFault
from lanner.sources.installed import define_sources
from processor.compiler.operands import names_to_resolve
from processor.language.ast import checks, indicators_in
from processor.loading import RuleFile, read_rule_files
from processor.loading.rules import Switch
from processor.output.tokens import OutputError, Token, parse_output
from processor.python.limits import PythonLimits
from processor.rule import Rule, correlations_of
from schemas.catalog.fields import FIELDS, SYSCALL

if TYPE_CHECKING:  # commands that only read rules start without the engine
    from lanner.hunting.new_matches import SearchedRule
    from lanner.ruleset.compile import CompiledDetection
    from processor.detection.repeats import RepeatedAlerts

OWN_FOLDER = Path("/etc/lanner/rules.d")


def rule_choices(settings: Settings) -> RuleChoices:
    """Return what settings choose for rules from elsewhere than rules_files."""
    return RuleChoices(
        files=(),
        watched=(),
        origin="",
        switches=tuple(_switches(settings)),
        appended=tuple(
            Appended(
                each.match.source,
                each.match.rule,
                each.match.tags,
                each.extra_output or "",
                tuple((field.name, field.format) for field in each.extra_fields),
                each.suggested_output,
            )
            for each in settings.append_output
        ),
        rule_matching=settings.rule_matching,
        priority=settings.priority,
        group_values=settings.first_seen.values_per_group,
        redact=tuple(settings.redact),
        has_audit_log=settings.kubernetes_audit.file is not None,
        python=PythonLimits(settings.python_rules.seconds, settings.python_rules.memory_mib << 20),
    )


def find_rules(settings: Settings) -> RuleChoices:
    """Read the configured files, or else the built-in ones and then those in /etc/lanner/rules.d.

    The sources of JSON that settings add are known afterwards. Raises BadInput if a configured path doesn't exist; the
    loader reports errors in files.
    """
    define_sources(settings)
    try:
        if settings.rules_files:
            paths = [Path(name) for name in settings.rules_files]
            missing = [
                SettingFault(f"rules_files[{index}]", f"{settings.rules_files[index]}: no such rule file or folder.")
                for index, named in enumerate(paths)
                if not settings.rules_files[index] or not named.exists()
            ]
            if missing:
                raise BadSettings(*missing)
            origin = ", ".join(_short(named) for named in paths)
        else:
            if not SHIPPED_FOLDER.is_dir():
                raise BadInput("the built-in rules are missing; pass rules by --rules.")
            paths = [_near(SHIPPED_FOLDER), *([OWN_FOLDER] if OWN_FOLDER.is_dir() else [])]
            origin = " and ".join(_short(named) for named in paths)
        files = tuple(read_rule_files(paths))
    except OSError as error:
        raise BadInput(f"{error.filename}: can't be read: {error.strerror}.") from None
    if not files:
        raise BadSettings(SettingFault("rules_files", f"{origin}: no rule files (*.yaml)."))
    watched = tuple(path.absolute() for path in (*paths, *(Path(file.name) for file in files)))
    return replace(rule_choices(settings), files=files, watched=watched, origin=origin)


def find_below(settings: Settings, *, alone: bool = False) -> tuple[RuleFile, ...]:
    """Return the files on top of which a command loads a draft: the active ones; if alone, only configured ones.

    This is the one view of a draft that all commands have; `on_top` orders the files. Raises as `find_rules`.
    """
    return () if alone and not settings.rules_files else find_rules(settings).files


def find_draft(settings: Settings, paths: Sequence[str], *, alone: bool = False) -> RuleChoices:
    """Return the rules of a draft, if there is one, on top of the active ones unless alone. Raises as `find_rules`."""
    if not paths:
        return find_rules(settings)
    draft = find_rules(replace(settings, rules_files=tuple(paths)))
    below = find_below(settings, alone=alone)
    return replace(draft, files=on_top(below, draft.files)) if below else draft


def _near(path: Path) -> Path:
    """Return a path relative to the current folder if it is below, for shorter messages."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _short(path: Path) -> str:
    shown = str(_near(path))
    return f"{shown}/" if path.is_dir() and shown != "." else shown


def _switches(settings: Settings) -> Iterator[Switch]:
    for selection in settings.rules:
        for enable, target in ((True, selection.enable), (False, selection.disable)):
            if target is not None and target.rule is not None:
                yield Switch(enable, "rule", target.rule)
            if target is not None and target.tag is not None:
                yield Switch(enable, "tag", target.tag)


def load_detection(settings: Settings, *, warnings: bool = True, folder: Path | None = None) -> "CompiledDetection":
    """Read, select and compile the rules; folder is as for detection_of(). Raises BadInput with all errors."""
    return detection_of(settings, find_rules(settings), warnings=warnings, folder=folder)


def detection_of(
    settings: Settings, choices: RuleChoices, *, warnings: bool = True, folder: Path | None = None
) -> "CompiledDetection":
    """Compile rules that have been read.

    Args:
        settings: the settings.
        choices: the rules.
        warnings: whether the notices include warnings.
        folder: where loaded rules are stored for the next start; None to store none.

    Raises:
        BadInput: With all errors, also of append_output.
    """
    from lanner.ruleset.compile import compile_rules

    if faults := appended_faults(settings):
        raise BadSettings(*faults)
    try:
        # What rules mean also depends on the files of mappings that settings name.
        return compile_rules(choices, warnings=warnings, folder=None if settings.json_sources else folder)
    except OutputError as error:
        raise BadSettings(SettingFault("append_output", f"append_output: {error}.")) from None


def searched_rules(
    choices: RuleChoices, rules: "Sequence[Rule]", active: ActiveRules, note: OnNote
) -> "list[SearchedRule]":
    """Return the rules that can be searched for in the past: active, with a list of indicators, decided by one event.

    Args:
        choices: how rules are compiled.
        rules: all rules.
        active: where they come from.
        note: receives which rules with lists are left out.
    """
    from lanner.hunting.new_matches import SearchedRule
    from lanner.ruleset.compile import options_of
    from processor.detection.stage import compile_ruleset
    from processor.splitting import stateful_names

    options = replace(options_of(choices, active), enrichments=(), python=None)
    correlations = correlations_of(active.macros)
    found = []
    for rule in rules:
        if not (rule.enabled and uses_lists(rule)) or rule.priority > options.minimum_priority:
            continue
        if rule.source != SYSCALL or stateful_names(rule.condition, correlations):
            note(f"rule {rule.name!r}: new entries are not searched for: it is stateful, or not on system calls.")
            continue
        if names_to_resolve([rule.condition]):
            # Their addresses at that time are not known: `not fd.sip.name = …` would be true of each.
            note(f"rule {rule.name!r}: new entries are not searched for: it compares addresses with host names.")
            continue
        found.append(SearchedRule(rule, compile_ruleset([rule], active.macros, options)))
    return found


def uses_lists(rule: Rule) -> bool:
    """Return whether a rule looks values up in lists of indicators."""
    return rule.python is None and any(indicators_in(check) for check in checks(rule.condition))


def repeated_alerts(settings: Settings) -> "RepeatedAlerts":
    """Return the suppression of repeated alerts, as configured."""
    from processor.detection.repeats import RepeatedAlerts, RepeatLimits

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


def output_faults(setting: str, text: str, parts: Sequence[tuple[int, str]] | None = None) -> list[SettingFault]:
    """Return all errors of an output, or of its parts that are given, each with its offset."""
    from processor.loading.condition_checks import output_findings

    faults: list[SettingFault] = []
    for start, part in parts or ((0, text),):
        at = 0
        # The parser stops at the first error of a text.
        while errors := [each for each in output_findings(part[at:]) if each.code.severity == "error"]:
            for each in errors:
                span = (start + at + each.span[0], start + at + each.span[1])
                faults.append(SettingFault(setting, f"{setting}: {each.message}.", each.hint, span))
            at += max(1, *(each.span[1] for each in errors))
    return faults


def appended_faults(settings: Settings) -> list[SettingFault]:
    """Return all errors of append_output."""
    faults: list[SettingFault] = []
    for index, item in enumerate(settings.append_output):
        name = f"append_output[{index}]"
        faults += output_faults(f"{name}.extra_output", item.extra_output or "")
        for number, field in enumerate(item.extra_fields):
            setting = f"{name}.extra_fields[{number}]"
            if field.format is not None:
                faults += output_faults(f"{setting}.{field.name}", field.format)
            elif not _is_printable(field.name):
                hint = did_you_mean(field.name.partition("[")[0], FIELDS) or "`lanner fields` lists the fields"
                faults.append(SettingFault(setting, f"{setting}: {field.name!r} is not a field of outputs.", hint))
    return faults


def _is_printable(field: str) -> bool:
    """Return whether a text is a field, or a transformer of one, that an output may contain."""
    try:
        (token,) = parse_output(f"%{field}")
    except ValueError:
        return False
    return isinstance(token, Token) and token.span == (0, len(field) + 1)
