"""The processing pipeline: Sigma's log sources and fields, as Lanner's events and fields.

The names and meanings of Sigma's fields are those of Sysmon for Linux and of auditd's records.
Source: https://github.com/SigmaHQ/sigma-specification, appendix taxonomy.

The records EXECVE, SYSCALL and PATH of auditd have equivalents among Lanner's events. A selection is about one kind of
record, which its field `type` names; one without it is about the only kind that the rule names. The fields of other
kinds, and the keys of audit rules, aren't in Lanner's events.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from sigma.conditions import ConditionOR
from sigma.correlations import SigmaCorrelationRule
from sigma.exceptions import SigmaTransformationError
from sigma.processing.conditions import LogsourceCondition, RuleProcessingCondition
from sigma.processing.pipeline import ProcessingItem, ProcessingPipeline
from sigma.processing.transformations import FieldMappingTransformation
from sigma.processing.transformations.base import DetectionItemTransformation, PreprocessingTransformation
from sigma.rule import SigmaDetection, SigmaDetectionItem, SigmaRule
from sigma.rule.logsource import SigmaLogSource
from sigma.types import SigmaNumber, SigmaQueryExpression, SigmaString, SigmaType

from collector.events.system_calls import EVERYTHING
from schemas.catalog.system_calls import CREATES, EXECS, FLAG_OPENERS, REMOVES

NEVER = "evt.num < 0"
ALWAYS = "evt.num >= 0"
"""A check that is true for every event; the backend leaves it out."""
EXECUTED = "sigma_process_creation"
PATH = "sigma_auditd_path"
OPENS, NAMES = "sigma_auditd_open", "sigma_auditd_name"
"""Macros, which the pipeline defines."""
_OPENED = (*FLAG_OPENERS, "creat")
_NAMED = (*(*REMOVES, *CREATES, "chmod", "fchmodat"), *("chown", "lchown", "fchownat", *EXECS))
PATHS: Mapping[str, str] = {
    PATH: f"(evt.type in ({', '.join((*_OPENED, *_NAMED))}))",
    OPENS: f"(evt.type in ({', '.join(_OPENED)}))",
    NAMES: f"(evt.type in ({', '.join(_NAMED)}))",
}
"""The calls that name a file: by fd.name, if they open it, or by fs.path.name."""
_CREATED = f"(evt.is_open_create = true or evt.type in ({', '.join(CREATES)}))"
_DELETED = f"evt.type in ({', '.join(REMOVES)})"
_NAMETYPES = {"create": _CREATED, "delete": _DELETED, "normal": f"(not {_CREATED} and not {_DELETED})"}
_OUTCOMES = {"yes": "evt.failed = false", "no": "evt.failed = true"}
_COMMON = {
    "exe": "proc.exepath",
    "comm": "proc.name",
    "pid": "proc.pid",
    "ppid": "proc.ppid",
    "uid": "user.uid",
    "euid": "user.uid",
    "auid": "user.loginuid",
    "gid": "group.gid",
    "cwd": "proc.cwd",
    "cmdline": "proc.exeline",
    "proctitle": "proc.exeline",
    "exit": "evt.rawres",
}
_ARGUMENTS = {("socket", "a0"): "evt.rawarg.domain"}
"""Numbers that SYSCALL records have in hexadecimal."""
_ARGUMENT = re.compile(r"a(\d+)")
_KINDS = ("EXECVE", "SYSCALL", "PATH")


@dataclass(frozen=True, slots=True)
class LogSource:
    """One of Sigma's log sources as Lanner has it."""

    macro: str
    """The macro that is true for its events; empty if each selection names its own events."""
    fields: Mapping[str, str]
    """Lanner's field for each of Sigma's."""


_PROCESS = {
    "Image": "proc.exepath",
    "CommandLine": "proc.exeline",
    "CurrentDirectory": "proc.cwd",
    "User": "user.name",
    "LogonId": "user.uid",
    "ProcessId": "proc.pid",
    "ParentProcessId": "proc.ppid",
    "ParentImage": "proc.pexepath",
    "ParentCommandLine": "proc.pexeline",
    "Computer": "evt.hostname",
    "ComputerName": "evt.hostname",
    "Hostname": "evt.hostname",
}
MACROS: Mapping[str, str] = {
    EXECUTED: "(evt.type in (execve, execveat) and evt.rawres = 0)",
    "sigma_file_event": (
        "(evt.rawres >= 0 and ((evt.type in (open, openat, openat2) and evt.is_open_write = true) or evt.type = creat))"
    ),
    "sigma_network_connection": (
        "(evt.type in (connect, accept, accept4) and fd.sockfamily = ip and (evt.rawres >= 0 or evt.res = EINPROGRESS))"
    ),
    **PATHS,
}
"""The macros of log sources, with their conditions."""
SOURCES: Mapping[tuple[str, str], LogSource] = {
    ("process_creation", ""): LogSource(EXECUTED, _PROCESS),
    ("file_event", ""): LogSource("sigma_file_event", {**_PROCESS, "TargetFilename": "fd.name"}),
    ("network_connection", ""): LogSource(
        "sigma_network_connection",
        {
            **_PROCESS,
            "DestinationIp": "fd.sip",
            "DestinationPort": "fd.sport",
            "DestinationHostname": "fd.sip.name",
            "SourceIp": "fd.cip",
            "SourcePort": "fd.cport",
            "SourceHostname": "fd.cip.name",
            "Protocol": "fd.l4proto",
        },
    ),
    ("", "auditd"): LogSource("", {"hostname": "evt.hostname"}),
}
"""By category and service."""
INITIATED = {"true": "evt.type = connect", "false": "evt.type in (accept, accept4)"}


def log_source(source: SigmaLogSource) -> LogSource | None:
    """Return what a rule's log source is in Lanner; None if Lanner has no such events."""
    if source.product not in (None, "linux"):
        return None
    return SOURCES.get((source.category or "", source.service or ""))


@dataclass
class InitiatedTransformation(DetectionItemTransformation):
    """Converts `Initiated`: whether this host opened the connection is the system call's name."""

    def apply_detection_item(self, detection_item: SigmaDetectionItem) -> SigmaDetectionItem | None:
        """Replace the field's values by conditions."""
        if detection_item.field != "Initiated":
            return None
        texts = [str(value).lower() for value in detection_item.value]
        if not all(text in INITIATED for text in texts):
            raise SigmaTransformationError("Initiated is neither true nor false")
        values: list[SigmaType] = [SigmaQueryExpression(INITIATED[text], "Initiated") for text in texts]
        return SigmaDetectionItem(None, [], values, negated=detection_item.negated)


@dataclass
class DirectoryTransformation(DetectionItemTransformation):
    """Adds the slash with which Lanner's working directories end."""

    def apply_detection_item(self, detection_item: SigmaDetectionItem) -> None:
        """Change the values of fields of working directories."""
        if detection_item.field in ("CurrentDirectory", "cwd"):
            detection_item.value = [_with_slash(value) for value in detection_item.value]


def _with_slash(value: SigmaType) -> SigmaType:
    if not isinstance(value, SigmaString) or not value.s or not isinstance(last := value.s[-1], str):
        return value
    return value if last.endswith("/") else value + "/"


@dataclass
class UnknownSourceTransformation(PreprocessingTransformation):
    """Rejects rules about events that Lanner doesn't have."""

    def apply(self, rule: SigmaRule | SigmaCorrelationRule) -> None:
        """Raise SigmaTransformationError for such a rule."""
        if isinstance(rule, SigmaRule) and log_source(rule.logsource) is None:
            named = (rule.logsource.product, rule.logsource.category, rule.logsource.service)
            raise SigmaTransformationError(f"Lanner has no events of the log source {'/'.join(filter(None, named))}")


def _of(category: str, service: str) -> list[RuleProcessingCondition]:
    return [LogsourceCondition(category=category or None, service=service or None)]


def lanner_pipeline() -> ProcessingPipeline:
    """Return the pipeline that the backend applies to each rule."""
    items = [
        ProcessingItem(UnknownSourceTransformation()),
        ProcessingItem(InitiatedTransformation(), rule_conditions=_of("network_connection", "")),
        ProcessingItem(DirectoryTransformation()),
        ProcessingItem(AuditdTransformation(), rule_conditions=_of("", "auditd")),
    ]
    for (category, service), source in SOURCES.items():
        mapping: dict[str | None, str | list[str]] = {name: field for name, field in source.fields.items()}  # noqa: C416  the key type is wider
        items.append(ProcessingItem(FieldMappingTransformation(mapping), rule_conditions=_of(category, service)))
    return ProcessingPipeline(name="Lanner", items=items)


@dataclass(frozen=True, slots=True)
class _Selection:
    """The facts about the records that a selection is about."""

    kind: str
    calls: tuple[str, ...] = ()
    """The system calls that it names, for SYSCALL."""


@dataclass
class AuditdTransformation(PreprocessingTransformation):
    """Replaces the fields of auditd's records."""

    def apply(self, rule: SigmaRule | SigmaCorrelationRule) -> None:
        """Replace the items of all selections of a rule."""
        super().apply(rule)
        if isinstance(rule, SigmaRule):
            detections = list(rule.detection.detections.values())
            kinds = _kinds(detections)
            default = next(iter(kinds)) if len(kinds) == 1 else "" if kinds else "EXECVE"
            for detection in detections:
                _convert(detection, default)


def _kinds(detections: list[SigmaDetection]) -> set[str]:
    """Return the kinds of records that the selections of a rule name."""
    items = [item for detection in detections for item in _items(detection)]
    named = {text.upper() for item in items if item.field == "type" for text in _texts(item)}
    return named or {"SYSCALL" for item in items if (item.field or "").lower() == "syscall"}


def _items(detection: SigmaDetection) -> Iterator[SigmaDetectionItem]:
    for item in detection.detection_items:
        if isinstance(item, SigmaDetection):
            yield from _items(item)
        else:
            yield item


def _texts(item: SigmaDetectionItem) -> list[str]:
    return [str(value) for value in item.value]


def _convert(detection: SigmaDetection, default: str) -> None:
    own = [item for item in detection.detection_items if isinstance(item, SigmaDetectionItem)]
    kinds = [text.upper() for item in own if item.field == "type" for text in _texts(item)]
    calls = tuple(text.lower() for item in own if (item.field or "").lower() == "syscall" for text in _texts(item))
    kind = kinds[0] if len(kinds) == 1 else "" if kinds else default
    if calls and not kinds:
        kind = "SYSCALL"
    selection = _Selection(kind, calls)
    for index, item in enumerate(detection.detection_items):
        if isinstance(item, SigmaDetection):
            _convert(item, kind)
        else:
            detection.detection_items[index] = _converted(item, selection)
    if own and not kinds and kind in ("EXECVE", "PATH"):
        detection.detection_items.append(_restriction(_records(kind, selection)))


def _restriction(condition: str) -> SigmaDetectionItem:
    value: SigmaType = SigmaQueryExpression(condition, "auditd")
    return SigmaDetectionItem(None, [], [value])


def _converted(item: SigmaDetectionItem, selection: _Selection) -> SigmaDetectionItem | SigmaDetection:
    name = item.field
    if name is None:
        if selection.kind not in ("EXECVE", ""):
            raise SigmaTransformationError(f"a keyword in records of type {selection.kind}")
        return replace(_fresh(item, "proc.exeline"), value=[_contained(value) for value in item.value])
    if name == "type":
        return _written(item, [_records(text.upper(), selection) for text in _texts(item)])
    if name.lower() == "syscall":
        return _written(item, [_call(text.lower()) for text in _texts(item)])
    if name == "success":
        return _written(item, [_chosen(_OUTCOMES, text, name) for text in _texts(item)])
    if name == "key":
        raise SigmaTransformationError("the key of an audit rule isn't part of an event")
    if name in _COMMON:
        return _fresh(item, _COMMON[name])
    if selection.kind == "PATH":
        return _of_path(item, name)
    argument = _ARGUMENT.fullmatch(name)
    if argument is not None and selection.kind == "EXECVE":
        index = int(argument[1])
        changed = _fresh(item, f"proc.args[{index - 1}]" if index else "proc.exe")
        return replace(changed, value=[_as_text(value) for value in item.value])
    if argument is not None and selection.kind == "SYSCALL":
        return _of_call(item, name, selection.calls)
    raise SigmaTransformationError(f"the field {name} of auditd's records has no equivalent")


def _fresh(item: SigmaDetectionItem, name: str) -> SigmaDetectionItem:
    changed = SigmaDetectionItem(
        name, item.modifiers, list(item.value), item.value_linking, item.negated, item.source, auto_modifiers=False
    )
    changed.disable_conversion_to_plain()
    return changed


def _written(item: SigmaDetectionItem, conditions: list[str]) -> SigmaDetectionItem:
    values: list[SigmaType] = [SigmaQueryExpression(condition, "auditd") for condition in conditions]
    return SigmaDetectionItem(None, [], values, negated=item.negated)


def _records(kind: str, selection: _Selection) -> str:
    if kind == "PATH":
        return PATH
    if kind == "EXECVE" or (kind == "SYSCALL" and not selection.calls):
        # Without a system call's name: those of executed programs, which audit rules record most of all.
        return EXECUTED
    return ALWAYS if kind == "SYSCALL" else NEVER


def _call(name: str) -> str:
    if name not in EVERYTHING:
        raise SigmaTransformationError(f"the system call {name} isn't collected")
    return EXECUTED if name in EXECS else f"evt.type = {name}"


def _chosen(table: Mapping[str, str], text: str, name: str) -> str:
    if text.lower() not in table:
        raise SigmaTransformationError(f"{name} is '{text}'; known are {', '.join(table)}")
    return table[text.lower()]


def _of_path(item: SigmaDetectionItem, name: str) -> SigmaDetectionItem | SigmaDetection:
    if name == "nametype":
        return _written(item, [_chosen(_NAMETYPES, text, name) for text in _texts(item)])
    if name != "name":
        raise SigmaTransformationError(f"the field {name} of PATH records has no equivalent")
    # Each kind of call on its own, so that the kernel can select files by name.
    alternatives: list[SigmaDetectionItem | SigmaDetection] = [
        SigmaDetection([_restriction(calls), _fresh(item, field)])
        for calls, field in ((OPENS, "fd.name"), (NAMES, "fs.path.name"))
    ]
    return SigmaDetection(alternatives, item.source, ConditionOR)


def _of_call(item: SigmaDetectionItem, name: str, calls: tuple[str, ...]) -> SigmaDetectionItem:
    found = _ARGUMENTS.get((calls[0], name)) if len(calls) == 1 else None
    if found is None:
        raise SigmaTransformationError(
            f"the argument {name} of {', '.join(calls) or 'a system call'} has no equivalent"
        )
    try:
        numbers: list[SigmaType] = [SigmaNumber(int(text, 16)) for text in _texts(item)]
    except ValueError:
        raise SigmaTransformationError(f"the argument {name} isn't a hexadecimal number") from None
    return replace(_fresh(item, found), value=numbers)


def _as_text(value: SigmaType) -> SigmaType:
    return SigmaString(str(value)) if isinstance(value, SigmaNumber) else value


def _contained(value: SigmaType) -> SigmaType:
    if isinstance(value, SigmaString | SigmaNumber):
        text = value if isinstance(value, SigmaString) else SigmaString(str(value))
        return SigmaString("*") + text + SigmaString("*")
    return value
