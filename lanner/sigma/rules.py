"""The items of a rule file, made from Sigma rules: names, texts, priorities, tags and attribution."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml
from sigma.correlations import SigmaCorrelationRule
from sigma.rule import SigmaLevel, SigmaRule, SigmaRuleTag, SigmaStatus

from foundation.text import printable
from lanner.sigma.pipeline import MACROS, log_source

_WIDTH = 116
_PRIORITIES = {
    SigmaLevel.CRITICAL: "CRITICAL",
    SigmaLevel.HIGH: "ERROR",
    SigmaLevel.MEDIUM: "WARNING",
    SigmaLevel.LOW: "NOTICE",
    SigmaLevel.INFORMATIONAL: "INFORMATIONAL",
}
_OUTPUTS = {
    "process_creation": "",
    "file_event": "file=%fd.name evt_type=%evt.type ",
    "network_connection": "connection=%fd.name evt_type=%evt.type ",
    "auditd": "evt_type=%evt.type file=%fd.name path=%fs.path.name ",
}
_PROCESS = (
    "process=%proc.name exepath=%proc.exepath command=%proc.exeline parent=%proc.pname parent_command=%proc.pexeline "
    "user=%user.name user_uid=%user.uid user_loginuid=%user.loginuid terminal=%proc.tty"
)
_STATEFUL = "count=%correlation.count group=%correlation.group first=%correlation.first last=%correlation.last "
_STYLE: Mapping[str, Any] = {"sort_keys": False, "allow_unicode": True, "width": _WIDTH}
_UNTOLD = frozenset({"unknown", "unlikely", "none", ""})
_TECHNIQUE = re.compile(r"t\d{4}(\.\d{3})?")
_OBJECT = re.compile(r"[gsct]\d{4}")
_NOT_A_NAME = re.compile(r"[^a-z0-9]+")

AnyRule = SigmaRule | SigmaCorrelationRule


@dataclass(frozen=True, slots=True)
class Attribution:
    """Where a Sigma rule comes from."""

    file: str
    link: str = ""
    licence: str = ""


@dataclass(frozen=True, slots=True)
class LannerMacro:
    """A macro of the resulting file."""

    name: str
    condition: str
    correlation: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LannerRule:
    """A rule of the resulting file."""

    name: str
    condition: str
    sigma: AnyRule
    attribution: Attribution
    macros: tuple[LannerMacro, ...] = ()
    """The macros of its correlation."""
    parts: int = 0
    """How many comparisons an event has to pass."""


def macro_name(rule: AnyRule) -> str:
    """Return the name of the macro with a Sigma rule's condition."""
    named = rule.name or (str(rule.id) if rule.id else rule.title)
    return f"sigma_{_NOT_A_NAME.sub('_', named.lower()).strip('_')}"


def file_text(head: str, rules: Sequence[LannerRule]) -> str:
    """Return a rule file: its first line as a comment, the macros that its rules use, and the rules in order."""
    own = {macro.name: macro for rule in rules for macro in rule.macros}
    conditions = [*(rule.condition for rule in rules), *(macro.condition for macro in own.values())]
    shared = [LannerMacro(name, text) for name, text in MACROS.items() if any(name in each for each in conditions)]
    parts = [f"# {printable(head)}\n", *map(_macro_text, (*shared, *own.values()))]
    parts += [f"{_comment(rule.sigma, rule.attribution)}\n{_rule(rule)}" for rule in rules]
    return "\n".join(parts)


def most_severe_first(rules: Iterable[LannerRule]) -> list[LannerRule]:
    """Sort rules by priority, and the narrower ones first, since the first that matches an event makes its alert."""
    return sorted(rules, key=_rank)


def _rank(rule: LannerRule) -> tuple[int, int]:
    level = rule.sigma.level or SigmaLevel.MEDIUM
    return list(_PRIORITIES).index(level), -rule.parts


def _macro_text(macro: LannerMacro) -> str:
    text = _items({"macro": macro.name}) + (_condition(macro.condition) if macro.condition else "")
    return _listed(text + (_items({"correlation": dict(macro.correlation)}) if macro.correlation else ""))


def _rule(rule: LannerRule) -> str:
    sigma = rule.sigma
    texts = {"rule": rule.name, "desc": _description(sigma)}
    causes = [str(text).strip().rstrip(".") for text in sigma.falsepositives]
    told = [text for text in causes if text.lower() not in _UNTOLD]
    if told:
        texts["response"] = f"Known false positives: {_one_line('; '.join(told))}."
    rest: dict[str, Any] = {
        "output": _output(rule),
        "priority": _PRIORITIES[sigma.level] if sigma.level is not None else "WARNING",
        "tags": _tags(sigma),
    }
    if sigma.status in (SigmaStatus.DEPRECATED, SigmaStatus.UNSUPPORTED):
        rest["enabled"] = False
    return _listed(_items(texts) + _condition(rule.condition) + _items(rest))


def _description(sigma: AnyRule) -> str:
    """Return the description with the author, whom alerts have to name by the Detection Rule License."""
    by = f" by {sigma.author}" if sigma.author else ""
    source = f"Sigma rule{f' {sigma.id}' if sigma.id else ''}{by}."
    return _one_line(f"{(sigma.description or sigma.title).strip().rstrip('.')}. {source}")


def _output(rule: LannerRule) -> str:
    title = _one_line(rule.name).replace("%", " percent")
    if isinstance(rule.sigma, SigmaCorrelationRule):
        return f"{title} | {_STATEFUL}{_PROCESS}"
    source = rule.sigma.logsource
    return f"{title} | {_OUTPUTS.get(source.category or source.service or '', '')}{_PROCESS}"


def _tags(sigma: AnyRule) -> list[str]:
    found = ["sigma"]
    if isinstance(sigma, SigmaRule) and log_source(sigma.logsource) is not None:
        found.append(sigma.logsource.category or sigma.logsource.service or "")
    return list(dict.fromkeys([*found, *map(_tag, sigma.tags)]))


def _tag(tag: SigmaRuleTag) -> str:
    if tag.namespace != "attack" or (_OBJECT.fullmatch(tag.name) and not _TECHNIQUE.fullmatch(tag.name)):
        return f"{tag.namespace}.{tag.name}"
    if _TECHNIQUE.fullmatch(tag.name):
        return tag.name.upper()
    return f"mitre_{tag.name.replace('-', '_')}"


def _comment(sigma: AnyRule, attribution: Attribution) -> str:
    named = f"Sigma rule {sigma.id or sigma.title}"
    about = [named, *([f"by {sigma.author}"] if sigma.author else []), *([str(sigma.date)] if sigma.date else [])]
    licence = sigma.license or attribution.licence
    lines = [", ".join(about), attribution.link or attribution.file, *([f"License: {licence}"] if licence else [])]
    return "".join(f"# {printable(_one_line(line))}\n" for line in lines)[:-1]


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _items(values: Mapping[str, Any]) -> str:
    parts = []
    for key, value in values.items():
        # A list of texts on one line, like Falco's rules.
        is_flow = isinstance(value, list)
        text = yaml.safe_dump(value if is_flow else {key: value}, **_STYLE, default_flow_style=is_flow)
        parts.append(f"{key}: {text}" if is_flow else text)
    return "".join(parts)


def _condition(text: str) -> str:
    if not text.isprintable():
        return yaml.safe_dump({"condition": text}, width=_WIDTH)
    lines = [""]
    for word in _words(text):
        if lines[-1] and len(lines[-1]) + len(word) >= _WIDTH:
            lines.append("")
        lines[-1] += f" {word}" if lines[-1] else word
    return "condition: >-\n" + "".join(f"  {line}\n" for line in lines)


def _words(text: str) -> Iterator[str]:
    """Split a condition at blanks outside of quotes, where YAML may fold it."""
    start, quoted = 0, False
    for index, character in enumerate(text):
        if character == '"' and not (quoted and text[index - 1] == "\\"):
            quoted = not quoted
        elif character == " " and not quoted:
            yield text[start:index]
            start = index + 1
    yield text[start:]


def _listed(text: str) -> str:
    lines = text.splitlines()
    return "".join(f"{'- ' if not index else '  '}{line}\n" for index, line in enumerate(lines))
