"""The event sources that rules can name, and the fields that each source has."""

from schemas.catalogue.fields import FieldSpec

SYSCALL = "syscall"
K8S_AUDIT = "k8s_audit"
SOURCES = (SYSCALL, K8S_AUDIT)
"""Rules of other sources load with a warning and are not evaluated."""

_EVERYWHERE = frozenset({
    "evt.num", "evt.time", "evt.time.s", "evt.time.iso8601", "evt.datetime", "evt.datetime.s",
    "evt.rawtime", "evt.rawtime.s", "evt.rawtime.ns", "evt.source",
})  # fmt: skip
"""The fields that the events of every source have."""
_OF_JSON = "json"


def has_field(source: str, spec: FieldSpec) -> bool:
    """Return whether the events of a source have a field; those of system calls have all but the fields of others."""
    if spec.family == K8S_AUDIT:
        return source == K8S_AUDIT
    if spec.family == _OF_JSON:
        return source != SYSCALL
    return source == SYSCALL or spec.name in _EVERYWHERE
