"""Loads rules for use: an error in any file means no rules at all, as in Falco."""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from foundation.text import count_of
from lanner.errors import BadInput
from lanner.ruleset.lint.lint import linted
from lanner.settings import Settings
from lanner.settings.faults import BadSettings, SettingFault
from lanner.settings.sections.model import AppendOutput
from lanner.sources.installed import define_sources
from processor.loading import LoadResult, Problem, Redefinition, Rule, RuleFile, load_rules, read_rule_files, report
from processor.loading.falco_compatibility import falco_problems
from processor.loading.rules import LoadedList, LoadedMacro, Switch, apply_switches, unmatched
from processor.rules.rule import Correlation, Suppress

SHIPPED_FOLDERS = (Path(__file__).parents[2] / "rules", Path("/usr/share/lanner/rules"))
"""Beside the program in a checkout, or where a package installs them."""
OWN_FOLDER = Path("/etc/lanner/rules.d")


@dataclass(frozen=True, slots=True)
class RuleSources:
    """The files to load and the paths to watch."""

    files: tuple[RuleFile, ...]
    watched: tuple[Path, ...]
    """Files and folders: a change to any may change the rules."""
    origin: str
    """Short description of where the rules come from."""


def find_rules(settings: Settings) -> RuleSources:
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
            shipped = next((named for named in SHIPPED_FOLDERS if named.is_dir()), None)
            if shipped is None:
                raise BadInput("the built-in rules are missing; pass rules by --rules.")
            paths = [_near(shipped), *([OWN_FOLDER] if OWN_FOLDER.is_dir() else [])]
            origin = " and ".join(_short(named) for named in paths)
        files = tuple(read_rule_files(paths))
    except OSError as error:
        raise BadInput(f"{error.filename}: can't be read: {error.strerror}.") from None
    if not files:
        raise BadSettings(SettingFault("rules_files", f"{origin}: no rule files (*.yaml)."))
    watched = (*paths, *(Path(file.name) for file in files))
    return RuleSources(files, tuple(path.absolute() for path in watched), origin)


def _near(path: Path) -> Path:
    """Return a path relative to the current folder if it is below, for shorter messages."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _short(path: Path) -> str:
    shown = str(_near(path))
    return f"{shown}/" if path.is_dir() and shown != "." else shown


_UNDEFINED_MACRO = re.compile(r"Undefined macro '(\w+)'")
_OF_FALCO = {
    "container": "in_container",
    "spawned_process": "program_started",
    "open_read": "file_opened_for_reading",
    "open_write": "file_opened_for_writing",
}
"""Falco's most used macros, and those of the built-in rules for the same purpose."""
_UNDEFINED = re.compile(r"no (list|macro|rule) by that name already exists")


def with_shipped_hints(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Return errors about unknown items with a hint if the built-in rules define them."""
    return tuple(map(_with_hint, problems))


def _with_hint(problem: Problem) -> Problem:
    if (found := _UNDEFINED_MACRO.search(problem.message)) is not None:
        kind, name = "macro", found[1]
    elif (found := _UNDEFINED.search(problem.message)) is not None:
        kind, name = found[1], problem.item_name
    else:
        return problem
    if kind == "macro" and name in _OF_FALCO:
        hint = f"Falco's rules define it: load them too; the built-in rules have '{_OF_FALCO[name]}' for it"
        return replace(problem, hint=hint)
    file = _shipped().get((kind, name))
    if file is None:
        return problem
    hint = f"{kind} '{name}' is built in ({file}): load that too, without --alone or --rules, or with both files"
    return replace(problem, hint=hint)


@cache
def _shipped() -> Mapping[tuple[str, str], str]:
    folder = next((named for named in SHIPPED_FOLDERS if named.is_dir()), None)
    result = load_rules(read_rule_files([folder] if folder is not None else []))
    items = (
        *(("macro", each.name, each.location.file) for each in result.macros.values()),
        *(("list", each.name, each.location.file) for each in result.lists.values()),
        *(("rule", each.name, each.file) for each in result.rules),
    )
    return {(kind, name): file for kind, name, file in items}


@dataclass(frozen=True, slots=True)
class ActiveRules:
    """All rules, enabled and disabled as configured, with notices about them."""

    rules: tuple[Rule, ...]
    notices: tuple[str, ...]
    """Each file with its number of rules, redefinitions, warnings."""
    extra_fields: Mapping[str, Mapping[str, str | None]]
    """Fields that the settings add to output_fields, by rule: name to format; None for the field of that name."""
    correlations: Mapping[str, Correlation]
    """The correlations of stateful macros, by name."""
    suppressed: Mapping[str, Suppress]
    """How rules suppress repeats, by name of the rule."""
    bare_outputs: frozenset[str] = frozenset()
    """The rules to whose outputs container and pod are not appended."""
    macros: Mapping[str, LoadedMacro] = field(default_factory=dict)
    lists: Mapping[str, LoadedList] = field(default_factory=dict)


def load_or_fail(settings: Settings, sources: RuleSources, *, warnings: bool = True) -> ActiveRules:
    """Load the rules, and enable and disable them as configured.

    warnings: whether to include the loader's warnings in the notices. Raises BadInput with all errors.
    """
    result = load_rules(sources.files)
    if result.errors:
        errors = with_shipped_hints(result.errors)
        raise BadInput(*(report.as_text([problem]).rstrip("\n") for problem in errors))
    switches = tuple(switches_of(settings))
    rules = apply_switches(result.rules, switches)
    if warnings:
        linting = linted(replace(result, rules=rules), sources.files, first_match=settings.rule_matching == "first")
        result = replace(linting, errors=(), warnings=(*linting.errors, *linting.warnings))
    counts = dict.fromkeys((file.name for file in sources.files), 0)
    for rule in rules:
        counts[rule.file] = counts.get(rule.file, 0) + 1
    notices = [f"{name}: {count_of(number, 'rule')}" for name, number in counts.items() if number]
    notices += [_redefinition(item) for item in result.redefinitions if item.location.file != item.earlier.file]
    notices += [
        f"settings: no rule is {'named' if switch.by == 'rule' else 'tagged'} {switch.pattern!r}."
        for switch in unmatched(result.rules, switches)
    ]
    if warnings and result.warnings:
        notices.append(report.as_text(result.warnings, errors_as="warning").rstrip("\n"))
    extra_fields = {rule.name: fields for rule in rules if (fields := _extra_fields(rule, settings))}
    return ActiveRules(
        tuple(_with_appended(rule, settings) for rule in rules),
        tuple(notices),
        extra_fields,
        result.correlations,
        result.suppressed,
        frozenset(rule.name for rule in rules if not _has_suggested(rule, settings)),
        result.macros,
        result.lists,
    )


def _redefinition(item: Redefinition) -> str:
    return (
        f"{item.location.file}:{item.location.line}: {item.type} {item.name!r} redefines that of "
        f"{item.earlier.file}:{item.earlier.line}; add `override` or `append` to change only a part."
    )


def switches_of(settings: Settings) -> Iterator[Switch]:
    """Yield the configured steps of enabling and disabling rules."""
    for selection in settings.rules:
        for enable, target in ((True, selection.enable), (False, selection.disable)):
            if target is not None and target.rule is not None:
                yield Switch(enable, "rule", target.rule)
            if target is not None and target.tag is not None:
                yield Switch(enable, "tag", target.tag)


def _with_appended(rule: Rule, settings: Settings) -> Rule:
    """Append the configured extra text to a rule's output."""
    extra = [item.extra_output for item in settings.append_output if item.extra_output and is_for(item, rule)]
    return replace(rule, output=" ".join((rule.output, *extra))) if extra else rule


def _extra_fields(rule: Rule, settings: Settings) -> dict[str, str | None]:
    items = (item for item in settings.append_output if is_for(item, rule))
    return {field.name: field.format for item in items for field in item.extra_fields}


def _has_suggested(rule: Rule, settings: Settings) -> bool:
    """Return whether container and pod are appended to a rule's output: the last entry that matches decides."""
    items = (item for item in reversed(settings.append_output) if is_for(item, rule))
    return next((item.suggested_output for item in items if item.suggested_output is not None), True)


def is_for(item: AppendOutput, rule: Rule) -> bool:
    """Return whether an appended output applies to a rule: all its conditions must hold."""
    match = item.match
    return (
        (match.source is None or match.source == rule.source)
        and (match.rule is None or match.rule == rule.name)
        and set(match.tags) <= set(rule.tags)
    )


def choose_rule(rules: Iterable[Rule], name: str) -> Rule:
    """Find a rule by name, ignoring case. Raises BadInput with the nearest name."""
    by_name = {rule.name: rule for rule in rules}
    found = by_name.get(name) or next((rule for rule in by_name.values() if rule.name.lower() == name.lower()), None)
    if found is None:
        close = difflib.get_close_matches(name, by_name, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else " `lanner rules list` lists them."
        raise BadInput(f"there is no rule {name!r}.{hint}")
    return found


def validate(settings: Settings, names: Sequence[str], *, alone: bool = False, falco: bool = False) -> LoadResult:
    """Load and lint rule files.

    Args:
        settings: which rules are active.
        names: files and folders to check on top of those; none to check the active rules.
        alone: whether to check `names` without the active rules.
        falco: whether to report what Falco doesn't support as errors.

    Returns:
        All errors, and the warnings of the files to check.

    Raises:
        BadInput: a path doesn't exist or can't be read.
    """
    checked = find_rules(replace(settings, rules_files=tuple(names)) if names else settings).files
    below: tuple[RuleFile, ...] = ()
    if names and not (alone and not settings.rules_files):
        own = {_resolved(file) for file in checked}
        below = tuple(file for file in find_rules(settings).files if _resolved(file) not in own)
    return validate_files(below, checked, falco=falco, rule_matching=settings.rule_matching)


def validate_files(
    below: Sequence[RuleFile], checked: Sequence[RuleFile], *, falco: bool = False, rule_matching: str = "first"
) -> LoadResult:
    """Load and lint files on top of others.

    Args:
        below: the files whose items the others can use; only errors in them are reported.
        checked: the files to check.
        falco: whether to report what Falco doesn't support as errors.
        rule_matching: `first` or `all`.
    """
    files = (*below, *checked)
    result = linted(load_rules(files), files, first_match=rule_matching == "first")
    if falco:
        result = result.with_errors(falco_problems(checked))
    return _only(replace(result, errors=with_shipped_hints(result.errors)), {file.name for file in checked})


def _only(result: LoadResult, names: set[str]) -> LoadResult:
    def of_checked(problems: Iterable[Problem]) -> tuple[Problem, ...]:
        return tuple(problem for problem in problems if problem.file in names)

    # An error that keeps other files from loading is never left out.
    errors = tuple(each for each in result.errors if each.file in names or each.code.name.startswith("LOAD_"))
    return replace(
        result,
        files=tuple(file for file in result.files if file.name in names),
        errors=errors,
        warnings=of_checked(result.warnings),
        infos=of_checked(result.infos),
        rules=tuple(rule for rule in result.rules if rule.file in names),
    )


def _resolved(file: RuleFile) -> Path:
    return Path(file.name).resolve()
