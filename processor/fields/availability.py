"""The availability of fields: which ones have values, and why the others have none."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from processor.fields.extract import is_filled
from schemas.catalog.fields import SYSCALL, FieldSpec, has_field

Source = Literal["live", "JSON", "none"]

_SUMMARY = "only used by Falco's summaries of captures"
_NO_LATENCY = "system calls are recorded when they return, not when they begin"
_NO_TABLE = "there is no table of all descriptors: only the event's own descriptor is looked up"
_NO_USAGE = "a resource usage value, which would have to be read for each event"
_NO_PLUGINS = "plugins are not supported"
_NO_DOCKER = "events of container engines are not collected"
_NO_PROBES = "the settings of health checks and probes are not read, so their processes cannot be identified"
_NO_NETWORKS = "the results of network plug-ins are not read"
FROM_API = "needs `lanner kubernetes`: docs/kubernetes-metadata.md"

WHY_NOT: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(
            ("evt.latency", "evt.latency.s", "evt.latency.ns", "evt.latency.quantized", "evt.latency.human"),
            _NO_LATENCY,
        ),
        "evt.wait_latency": _NO_LATENCY,
        **{
            f"evt.buflen.{kind}{direction}": f"{_SUMMARY}; evt.buflen has the bytes of one event"
            for kind in ("file", "net")
            for direction in ("", ".in", ".out")
        },
        **dict.fromkeys(
            (
                *("evt.infra.docker.name", "evt.infra.docker.container.id"),
                *("evt.infra.docker.container.name", "evt.infra.docker.container.image"),
            ),
            _NO_DOCKER,
        ),
        **dict.fromkeys(
            ("fd.types", *(f"proc.{s}.{w}" for s in ("stdin", "stdout", "stderr") for w in ("type", "name"))), _NO_TABLE
        ),
        **dict.fromkeys(
            (f"fdlist.{kind}" for kind in ("nums", "names", "cips", "sips", "cports", "sports")), _NO_TABLE
        ),
        **dict.fromkeys(("evt.pluginname", "evt.plugininfo", "evt.asynctype"), _NO_PLUGINS),
        **dict.fromkeys(
            ("proc.fdopencount", "proc.fdlimit", "proc.fdusage", "proc.nthreads", "proc.nchilds"), _NO_USAGE
        ),
        **dict.fromkeys(("proc.vmsize", "proc.vmrss", "proc.vmswap"), _NO_USAGE),
        **dict.fromkeys(
            (
                *("thread.pfmajor", "thread.pfminor", "thread.exectime", "thread.totexectime", "thread.cpu"),
                *("thread.cpu.user", "thread.cpu.system", "thread.vmsize", "thread.vmrss"),
                *("thread.vmsize.b", "thread.vmrss.b"),
            ),
            _NO_USAGE,
        ),
        **dict.fromkeys(("container.healthcheck", "container.liveness_probe", "container.readiness_probe"), _NO_PROBES),
        **dict.fromkeys(("container.cni.json", "k8s.pod.cni.json"), _NO_NETWORKS),
        **dict.fromkeys(
            ("okta.mfa.failure.countlast", "okta.mfa.deny.countlast"),
            "use a stateful macro of type event_count: docs/stateful-macros.md",
        ),
        "okta.org": "events don't name it; a mapping file of your own can define it",
        "github.diff.committed_secrets.links": "combine github.repo.url with the files and lines",
    }
)
"""The reason for each field that is always missing."""

CAVEATS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(
            (f"proc.is_container_{kind}" for kind in ("healthcheck", "liveness_probe", "readiness_probe")),
            f"always false: {_NO_PROBES}",
        ),
        **dict.fromkeys(
            ("proc.env", "proc.aenv"), "collected only if a loaded rule uses it, for programs started since then"
        ),
        **dict.fromkeys(
            ("fd.cip.name", "fd.sip.name", "fd.lip.name", "fd.rip.name"),
            "the newest name that the user looked up for the other end, or one that a loaded rule uses for the address",
        ),
        "evt.around": "in conditions only",
        **dict.fromkeys(
            (f"indicator.{part}" for part in ("name", "description", "kind", "list", "source")),
            "in outputs of rules that use in_indicators",
        ),
        **dict.fromkeys(
            ("proc.exe.hosts", "proc.exe.first_seen"),
            "in alerts of rules with a stateful macro of type prevalence by proc.exe.sha256",
        ),
        **dict.fromkeys(("k8s.ns.id", "k8s.ns.label", "k8s.ns.labels"), FROM_API),
        **{
            f"k8s.{kind}.{part}": FROM_API
            for kind in ("rc", "svc", "rs", "deployment")
            for part in ("name", "id", "label", "labels")
        },
        **dict.fromkeys(
            (
                "k8s.owner.kind",
                "k8s.owner.name",
                "k8s.owner.id",
                "k8s.serviceaccount.name",
                "k8s.node.name",
                "k8s.cluster.name",
            ),
            FROM_API,
        ),
    }
)
"""Restrictions of fields that do have values."""

_BY_RULE = frozenset(
    {
        *("evt.around", "proc.exe.hosts", "proc.exe.first_seen"),
        *(f"indicator.{part}" for part in ("name", "description", "kind", "list", "source")),
    }
)
"""Fields whose values depend on the rule."""


def source_of(spec: FieldSpec) -> Source:
    """Return what fills a field."""
    if is_filled(spec.name) or spec.name in _BY_RULE:
        return "live"
    return "none" if has_field(SYSCALL, spec) or spec.name in WHY_NOT else "JSON"


def remark_on(spec: FieldSpec) -> str:
    """Return why a field has no value, or a restriction of it; empty for most fields."""
    return WHY_NOT.get(spec.name) or CAVEATS.get(spec.name, "")
