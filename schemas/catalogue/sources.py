"""The event sources that rules can name, and the fields that each source has."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from schemas.catalogue.fields import FIELDS, FieldSpec, define_fields

SYSCALL = "syscall"
K8S_AUDIT = "k8s_audit"
JSON = "json"
SSHD = "sshd"
MAPPED = ("github", "aws_cloudtrail", "okta", SSHD)
"""The sources of JSON whose mappings are shipped."""
_BUILT_IN = (SYSCALL, K8S_AUDIT, JSON, *MAPPED)
_SOURCES = dict.fromkeys(_BUILT_IN, "")
SOURCES: Mapping[str, str] = MappingProxyType(_SOURCES)
"""By source, the file that defines it, if one does. Rules of others load with a warning and are not evaluated."""

_EVERYWHERE = frozenset({
    "evt.num", "evt.time", "evt.time.s", "evt.time.iso8601", "evt.datetime", "evt.datetime.s",
    "evt.rawtime", "evt.rawtime.s", "evt.rawtime.ns", "evt.source", "evt.pluginname", "evt.plugininfo",
})  # fmt: skip
"""The fields that the events of every source have; plugins' rules name the last two, which have no value."""


def define_sources(files: Mapping[str, str], specs: Iterable[FieldSpec]) -> None:
    """Replace the sources of JSON that settings define.

    Args:
        files: the file that defines a source, by its name.
        specs: the fields that only these files define; each has its source as family.
    """
    define_fields(specs)
    for name in [name for name, file in _SOURCES.items() if file and name not in files]:
        if name in _BUILT_IN:
            _SOURCES[name] = ""
        else:
            del _SOURCES[name]
    _SOURCES.update(files)


def has_field(source: str, spec: FieldSpec) -> bool:
    """Return whether the events of a source have a field; those of system calls have all but the fields of others."""
    if spec.family == JSON:
        return source != SYSCALL
    if spec.family in _SOURCES:
        return source == spec.family
    return source == SYSCALL or spec.name in _EVERYWHERE


RESERVED = frozenset({SYSCALL, K8S_AUDIT, JSON, *(spec.family for spec in FIELDS.values())} - {*MAPPED})
"""Names that no other source can have."""
