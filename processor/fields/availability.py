"""Which fields have values, and why the others have none: rules may name all of them, and should know."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from processor.fields.extract import is_filled
from schemas.catalogue.fields import FieldSpec

Source = Literal["live", "captures", "none"]

_SUMMARY = "it only serves Falco's summaries of captures"
_NO_LATENCY = "calls are seen when they return, not when they begin"
_NO_TABLE = "no table of all descriptors is kept: the kernel is asked about the event's own"
_NO_USAGE = "it is a measure of load, which would have to be read at each event"
_NO_PLUGINS = "plugins are not supported"
_NO_DOCKER = "events of container engines are not read"
_NO_PROBES = "the settings of health checks and probes are not asked for, so what they start is not told apart"
_NO_ORCHESTRATOR = "the orchestrator is not asked: what is known of a pod comes from its containers' labels"

FROM_CAPTURES: frozenset[str] = frozenset()
"""Fields that only capture files fill; nothing reads such files yet."""

WHY_NOT: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(
            ("evt.latency", "evt.latency.s", "evt.latency.ns", "evt.latency.quantized", "evt.latency.human"),
            _NO_LATENCY,
        ),
        "evt.wait_latency": _NO_LATENCY,
        **{
            f"evt.buflen.{kind}{way}": f"{_SUMMARY}; evt.buflen has the bytes of a single event"
            for kind in ("file", "net")
            for way in ("", ".in", ".out")
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
        **dict.fromkeys(("container.cni.json", "k8s.pod.cni.json"), _NO_ORCHESTRATOR),
        **dict.fromkeys(("k8s.ns.id", "k8s.ns.label", "k8s.ns.labels"), _NO_ORCHESTRATOR),
        **{
            f"k8s.{kind}.{part}": _NO_ORCHESTRATOR
            for kind in ("rc", "svc", "rs", "deployment")
            for part in ("name", "id", "label", "labels")
        },
    }
)
"""For each field that is always missing, the reason."""

CAVEATS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(
            (f"proc.is_container_{kind}" for kind in ("healthcheck", "liveness_probe", "readiness_probe")),
            f"always false: {_NO_PROBES}",
        ),
        **dict.fromkeys(
            ("proc.env", "proc.aenv"), "collected only where a loaded rule names it, from programs started since then"
        ),
        **dict.fromkeys(
            ("fd.cip.name", "fd.sip.name", "fd.lip.name", "fd.rip.name"),
            "the name by which a loaded rule calls the address; addresses of events are never asked about",
        ),
        "evt.around": "in conditions only",
    }
)
"""What else to know of some fields that have values."""

_IN_CONDITIONS = frozenset({"evt.around"})


def source_of(spec: FieldSpec) -> Source:
    """Tell what fills a field."""
    if is_filled(spec.name) or spec.name in _IN_CONDITIONS:
        return "live"
    return "captures" if spec.name in FROM_CAPTURES else "none"


def remark_on(spec: FieldSpec) -> str:
    """Say why a field has no value, or what else to know of it; empty for most."""
    return WHY_NOT.get(spec.name) or CAVEATS.get(spec.name, "")
