"""Converts files of Sigma rules: reads them by pySigma, and names each rule that can't be converted with the reason."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml
from sigma.collection import SigmaCollection
from sigma.correlations import SigmaCorrelationRule
from sigma.exceptions import SigmaError, SigmaRuleLocation
from sigma.rule import SigmaRule

from lanner.errors import BadInput
from lanner.sigma import checks
from lanner.sigma.backend import ConvertedCorrelation, LannerBackend
from lanner.sigma.pipeline import log_source
from lanner.sigma.rules import AnyRule, Attribution, LannerMacro, LannerRule, macro_name, most_severe_first
from processor.language.ast import And, MacroRef, Node
from processor.language.printer import print_condition

_ENDINGS = (".yml", ".yaml")
_DRL = "Detection Rule License"
_DRL_LINK = "Detection Rule License (DRL) 1.1, https://github.com/SigmaHQ/Detection-Rule-License"
_SIGMAHQ = "https://github.com/SigmaHQ/sigma/blob/master"
_FAULTS = (SigmaError, ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""The errors of pySigma for wrong rules: its own, and others where it doesn't check."""
_KEYS = ("detection", "correlation", "filter")
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Rejected:
    """A rule that can't be converted."""

    file: str
    rule: str
    """Its id, or its title without one."""
    reason: str


@dataclass(slots=True)
class Conversion:
    """The result of converting files."""

    rules: list[LannerRule] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    others: int = 0
    """Rules for other products than Linux."""


def convert(paths: Iterable[Path], *, exact_paths: bool = False) -> Conversion:
    """Convert the Sigma rules for Linux in files and folders, whose files are taken in order of their names.

    Raises BadInput if a file can't be read, or isn't YAML; in a folder, it is rejected.
    """
    return _Converter(LannerBackend(exact_paths=exact_paths)).convert(paths)


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(each for each in path.rglob("*") if each.suffix in _ENDINGS and each.is_file())
    return [path]


def _documents(file: Path) -> list[dict[str, Any]]:
    try:
        found = list(yaml.load_all(file.read_text("utf-8"), Loader=_Loader))
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{file}: can't be read: {getattr(error, 'strerror', None) or error}.") from None
    except yaml.YAMLError as error:
        raise BadInput(f"{file}: not YAML: {' '.join(str(error).split())}.") from None
    return [each for each in found if isinstance(each, dict) and (set(_KEYS) & each.keys() or "action" in each)]


def _is_of_linux(document: Mapping[str, Any]) -> bool:
    source = document.get("logsource")
    product = source.get("product") if isinstance(source, dict) else None
    return product in (None, "linux")


@dataclass(slots=True)
class _Converter:
    backend: LannerBackend
    result: Conversion = field(default_factory=Conversion)
    _conditions: dict[int, Node] = field(default_factory=dict)
    """By identity of the Sigma rule."""
    _macros: dict[int, tuple[LannerMacro, ...]] = field(default_factory=dict)
    """The rules that a correlation needs, itself last."""
    _origins: dict[Path, Path | None] = field(default_factory=dict)

    def convert(self, paths: Iterable[Path]) -> Conversion:
        collection = SigmaCollection([], resolve_references=False)
        # A file that several paths name is read once.
        files = {file.resolve(): (file, path) for path in paths for file in _files(path)}
        for file, path in files.values():
            try:
                collection = SigmaCollection.merge([collection, self._read(file)], resolve_references=False)
            except (*_FAULTS, BadInput) as error:
                if not path.is_dir() and isinstance(error, BadInput):
                    raise
                self.result.rejected.append(
                    Rejected(str(file), "the whole file", _reason(error).removeprefix(f"{file}: "))
                )
        for rule in self._resolved(collection):
            try:
                self._convert(rule)
            except _FAULTS as error:
                self._reject(rule, error)
        self.result.rules = most_severe_first(_with_unique_names(self.result.rules))
        return self.result

    def _read(self, file: Path) -> SigmaCollection:
        documents = _documents(file)
        linux = [each for each in documents if _is_of_linux(each)]
        self.result.others += len(documents) - len(linux)
        location = SigmaRuleLocation(file)
        return SigmaCollection.from_dicts(
            linux, collect_errors=True, source=location, collect_filters=True, resolve_references=False
        )

    def _resolved(self, collection: SigmaCollection) -> Sequence[AnyRule]:
        """Apply filters, and connect correlations with their rules; those that name unknown rules are rejected."""
        known = SigmaCollection([*collection.rules, *collection.filters], resolve_references=False)
        for rule in list(known.rules):
            if isinstance(rule, SigmaCorrelationRule):
                try:
                    rule.resolve_rule_references(known)
                except _FAULTS as error:
                    self._reject(rule, error)
                    known.rules.remove(rule)
        known.resolve_rule_references()
        return known.rules

    def _convert(self, rule: AnyRule) -> None:
        if rule.errors:
            raise rule.errors[0]
        if isinstance(rule, SigmaRule):
            if rule.logsource.product is None and log_source(rule.logsource) is None:
                self.result.others += 1
                return
            self.backend.convert_rule(rule)
            condition = self._conditions[id(rule)] = checks.any_of(rule.get_conversion_result())
            macros: tuple[LannerMacro, ...] = ()
        else:
            self.backend.convert_correlation_rule(rule)
            macros = self._macros[id(rule)] = self._stateful(rule)
            condition = MacroRef(macros[-1].name)
        if rule._output:  # noqa: SLF001  pySigma has no other way to ask
            parts = len(condition.children) if isinstance(condition, And) else 1
            made = LannerRule(_name(rule), _text(condition), rule, self._attribution(rule), macros, parts)
            self.result.rules.append(made)

    def _stateful(self, rule: SigmaCorrelationRule) -> tuple[LannerMacro, ...]:
        made: ConvertedCorrelation = rule.get_conversion_result()[0]
        legs: dict[str, LannerMacro] = {}
        for each in made.rules:
            for macro in self._leg(each):
                legs[macro.name] = macro
        names = [macro_name(each) for each in made.rules]
        if not made.is_temporal:
            condition = print_condition(checks.any_of([MacroRef(name) for name in names]))
            return (*legs.values(), LannerMacro(macro_name(rule), condition, made.correlation))
        correlation = {**made.correlation, "macros": names}
        if aliases := made.correlation.get("aliases"):
            correlation["aliases"] = {
                alias: {names[index]: name for index, name in fields.items()} for alias, fields in aliases.items()
            }
        return (*legs.values(), LannerMacro(macro_name(rule), "", correlation))

    def _leg(self, rule: AnyRule) -> tuple[LannerMacro, ...]:
        if isinstance(rule, SigmaCorrelationRule) and id(rule) in self._macros:
            return self._macros[id(rule)]
        if id(rule) not in self._conditions:
            raise checks.unsupported(f"its rule {rule.name or rule.id or rule.title} can't be converted")
        return (LannerMacro(macro_name(rule), print_condition(self._conditions[id(rule)])),)

    def _reject(self, rule: AnyRule, error: Exception) -> None:
        self.result.rejected.append(Rejected(_file(rule), str(rule.id or rule.title), _reason(error)))

    def _attribution(self, rule: AnyRule) -> Attribution:
        file = Path(_file(rule))
        root = self._origin(file.resolve().parent)
        if root is None:
            return Attribution(str(file))
        return Attribution(str(file), f"{_SIGMAHQ}/{file.resolve().relative_to(root).as_posix()}", _DRL_LINK)

    def _origin(self, folder: Path) -> Path | None:
        """Return the folder of SigmaHQ's repository that contains a folder; None if it isn't in a copy of it."""
        if folder not in self._origins:
            licence = folder / "LICENSE"
            if licence.is_file() and _DRL in licence.read_text("utf-8", "replace"):
                self._origins[folder] = folder
            else:
                self._origins[folder] = self._origin(folder.parent) if folder != folder.parent else None
        return self._origins[folder]


def _reason(error: Exception) -> str:
    """Return the first line of an error; one that is not Sigma's is a fault of the library on odd input."""
    lines = str(error.args[0] if error.args else error).strip().splitlines() or [""]
    text = lines[0].rstrip(".")
    return (
        text if isinstance(error, SigmaError | BadInput) else f"pySigma can't read it ({type(error).__name__}: {text})"
    )


def _text(condition: Node) -> str:
    """Print a condition, without the parentheses around the whole of it."""
    if isinstance(condition, And):
        return " and ".join(map(print_condition, condition.children))
    return print_condition(condition)


def _name(rule: AnyRule) -> str:
    return rule.title or f"Sigma rule {rule.id}"


def _file(rule: AnyRule) -> str:
    return str(rule.source.path) if rule.source is not None else ""


def _with_unique_names(rules: Sequence[LannerRule]) -> list[LannerRule]:
    """Add the start of the id to names that several rules have, and a number if that isn't enough."""
    counts = Counter(rule.name for rule in rules)
    seen: Counter[str] = Counter()
    made: list[LannerRule] = []
    for rule in rules:
        is_shared = counts[rule.name] > 1 and rule.sigma.id is not None
        name = f"{rule.name} ({str(rule.sigma.id)[:8]})" if is_shared else rule.name
        seen[name] += 1
        made.append(replace(rule, name=name if seen[name] == 1 else f"{name} {seen[name]}"))
    return made
