"""The processing pipeline: Sigma's log sources and fields, as Lanner's events and fields.

The names and meanings of Sigma's fields are those of Sysmon for Linux and of auditd's records.
Source: https://github.com/SigmaHQ/sigma-specification, appendix taxonomy.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sigma.correlations import SigmaCorrelationRule
from sigma.exceptions import SigmaTransformationError
from sigma.processing.conditions import LogsourceCondition, RuleProcessingCondition
from sigma.processing.pipeline import ProcessingItem, ProcessingPipeline
from sigma.processing.transformations import FieldMappingTransformation
from sigma.processing.transformations.base import DetectionItemTransformation, PreprocessingTransformation
from sigma.rule import SigmaDetectionItem, SigmaRule
from sigma.rule.logsource import SigmaLogSource
from sigma.types import SigmaQueryExpression, SigmaString, SigmaType

from lanner.sigma.auditd import EXECUTED, PATHS, AuditdTransformation


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
