"""The event of an alert as a row of fields, independent of the rule's output.

Notifiers map it to ECS and OCSF, and analysts find fields in it that the output does not include.
"""

from collections.abc import Callable, Mapping
from typing import Any

from processor.language.ast import Field
from processor.output.formatter import MISSING, values_factory
from schemas.batch import EventBatch

_LEVELS = range(2, 9)

_PLAIN = (
    *("evt.num", "evt.type", "evt.category", "evt.rawtime", "evt.cpu", "evt.res", "evt.rawres", "evt.failed"),
    *("evt.args", "evt.io_uring", "evt.is_open_read", "evt.is_open_write", "evt.is_open_exec", "evt.is_open_setuid"),
    *("fd.num", "fd.type", "fd.typechar", "fd.name", "fd.nameraw", "fd.realpath", "fd.directory", "fd.filename"),
    *("fd.lip", "fd.rip", "fd.cip", "fd.sip", "fd.lport", "fd.rport", "fd.cport", "fd.sport", "fd.l4proto"),
    *("fd.sockfamily", "fd.is_server", "fd.dev", "fd.ino"),
    *("fs.path.name", "fs.path.nameraw", "fs.path.source", "fs.path.target"),
    *("proc.pid", "proc.vpid", "proc.ppid", "proc.name", "proc.exe", "proc.exepath", "proc.codepath", "proc.cmdline"),
    "proc.args",
    *("proc.cwd", "proc.tty", "proc.sid", "proc.sname", "proc.pgid", "proc.vpgid", "proc.loginshellid"),
    *("proc.pid.ts", "proc.duration", "proc.exe_ino", "proc.is_exe_writable", "proc.is_exe_upper_layer"),
    *(
        "proc.is_exe_from_memfd",
        "proc.args.truncated",
        "proc.pname",
        "proc.pexe",
        "proc.pexepath",
        "proc.pcodepath",
        "proc.pcmdline",
        "proc.ppid.ts",
    ),
    *("thread.tid", "thread.vtid", "thread.cap_effective", "thread.cgroups"),
    *("user.uid", "user.name", "user.loginuid", "user.loginname", "group.gid", "group.name"),
    *("container.id", "container.full_id", "container.name", "container.type", "container.image"),
    *("container.image.id", "container.image.repository", "container.image.tag", "container.image.digest"),
    *("container.privileged", "container.mounts", "container.truncated", "container.ip", "container.start_ts"),
    *("k8s.pod.name", "k8s.pod.uid", "k8s.ns.name", "k8s.pod.labels"),
    *("k8s.deployment.name", "k8s.rs.name", "k8s.svc.name", "k8s.owner.kind", "k8s.owner.name"),
    *("k8s.serviceaccount.name", "k8s.node.name", "k8s.cluster.name"),
)
_ANCESTRY = ("proc.aname", "proc.apid", "proc.aexepath", "proc.acodepath", "proc.acmdline")

FIELDS: tuple[Field, ...] = (
    *(Field(name) for name in _PLAIN),
    *(Field(name, str(level)) for name in _ANCESTRY for level in _LEVELS),
)
NAMES = tuple(field.name if field.argument is None else f"{field.name}[{field.argument}]" for field in FIELDS)
_FACTORY = values_factory(FIELDS)


def known_fields(output_fields: Mapping[str, Any], event: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what an alert states about its event; a value of None is missing, a field that is absent is unknown.

    Args:
        output_fields: the fields that its output names.
        event: the whole event, which omits missing values; empty if the alert has none.
    """
    return {**dict.fromkeys(NAMES if event else ()), **output_fields, **event}


def event_row(batch: EventBatch) -> Callable[[int, int], dict[str, Any]]:
    """Return a function from an event's index and the string index of its file name to its fields.

    Missing fields are omitted, and those for which Falco has the text <NA>.
    """
    read = _FACTORY(batch)

    def row(index: int, name: int) -> dict[str, Any]:
        pairs = zip(NAMES, read(index, name), strict=True)
        return {key: value for key, value in pairs if value is not None and value != MISSING}

    return row
