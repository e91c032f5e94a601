"""The SQL expression of each field over the columns of the archive.

A field without an expression here is evaluated by the engine. Each expression has the value that the field has in a
condition, and NULL where it is missing; `processor/fields/expressions.py` has the same table for batches.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from errno import errorcode
from functools import cache
from typing import Literal

from sqlglot import exp, parse_one

from lanner.archive.schema import MAX_ANCESTORS, archived_text
from processor.fields.event import (
    direction,
    io_direction,
    is_read,
    is_wait,
    is_write,
    parameter,
    path_field,
    system_call,
)
from processor.fields.expressions import BITS
from processor.language.event_types import ALL_EVENT_TYPES
from schemas.batch import FILE_FACTS, MISSING_INT, NOBODY, EventBit
from schemas.catalog.fields import FIELDS, resolve_field
from schemas.catalog.system_calls import FLAG_OPENERS

DIALECT = "duckdb"
ANCESTORS = "ancestors"
"""The column of a process's ancestors."""
Form = Literal["value", "ends", "list", "bits"]


@dataclass(frozen=True, slots=True)
class FieldColumn:
    """A field as SQL."""

    values: tuple[exp.Expr, ...]
    """One, or those of both ends of a connection."""
    form: Form = "value"
    """``ends``: there are several expressions, each may be missing; ``list``: one, whose value is a list;
    ``bits``: one, whose value is a set of capabilities."""


_LAST = 4294967295
_PLAIN = {
    "evt.num": "number",
    "evt.rawtime": "epoch_ns(time)",
    "evt.rawtime.s": "epoch_ns(time) // 1000000000",
    "evt.rawtime.ns": "epoch_ns(time) % 1000000000",
    "evt.reltime": "epoch_ns(time) - collector_start",
    "evt.type": "type",
    "evt.cpu": "cpu",
    "evt.rawres": f"CASE WHEN bits & {int(EventBit.HAS_RES)} <> 0 THEN res END",
    "evt.count": "1 + repeats",
    "evt.source": "'syscall'",
    "evt.hostname": "hostname",
    "fd.num": (
        f"CASE WHEN fd_num = {MISSING_INT} THEN NULL WHEN fd_num = -1 AND list_filter(arguments, "
        f"lambda a: a.name = 'fd' AND a.value IS NOT NULL)[1].raw = {_LAST} THEN {_LAST} ELSE fd_num END"
    ),
    "fd.type": "fd_type",
    "fd.name": ":name",
    "fd.nameraw": "fd_name_raw",
    "fd.realpath": "fd_realpath",
    "fd.directory": (
        r"CASE WHEN fd_type = 'directory' THEN :name WHEN fd_type <> 'file' OR :name IS NULL THEN NULL "
        r"WHEN NOT regexp_matches(:name, '(?s).+/') THEN '/' WHEN ends_with(:name, '/') THEN :name "
        r"ELSE regexp_extract(:name, '(?s)^(.*)/[^/]*$', 1) END"
    ),
    "fd.filename": (
        r"CASE WHEN fd_type = 'file' AND :name IS NOT NULL THEN CASE WHEN NOT contains(:name, '/') THEN '/' "
        r"WHEN ends_with(:name, '/') THEN :name ELSE regexp_extract(:name, '[^/]*$') END END"
    ),
    "fd.lip": "CASE WHEN remote_ip IS NOT NULL THEN local_ip END",
    "fd.rip": "remote_ip",
    "fd.lport": "CASE WHEN remote_ip IS NOT NULL THEN NULLIF(local_port, -1) END",
    "fd.rport": "NULLIF(remote_port, -1)",
    "fd.l4proto": "COALESCE(NULLIF(l4proto, ''), CASE WHEN fd_type IS NOT NULL THEN '<NA>' END)",
    "fd.sockfamily": "sock_family",
    "fd.dev": "NULLIF(fd_dev, 0)",
    "fs.path.source": "path_source",
    "fs.path.sourceraw": "path_source_raw",
    "fs.path.target": "path_target",
    "fs.path.targetraw": "path_target_raw",
    "dns.question.name": "string_split(dns, ' ')[1]",
    "dns.question.type": "string_split(dns, ' ')[2]",
    "dns.response_code": "string_split(dns, ' ')[3]",
    "tls.client.server_name": "server_name",
    "proc.args": "array_to_string(proc_args, ' ')",
    "proc.cmdnargs": "len(proc_args)",
    "proc.env": "array_to_string(proc_env, ' ')",
    "proc.cwd": "CASE WHEN proc_cwd = '' OR ends_with(proc_cwd, '/') THEN proc_cwd ELSE proc_cwd || '/' END",
    "proc.pid": f"CASE WHEN proc_pid <= {_LAST} THEN proc_pid END",
    "proc.ppid": f"CASE WHEN proc_ppid <= {_LAST} THEN proc_ppid END",
    "proc.vpid": "NULLIF(proc_vpid, -1)",
    "proc.pvpid": "NULLIF(ancestors[1].vpid, -1)",
    "proc.duration": "epoch_ns(time) - proc_start_time",
    "proc.ppid.duration": "epoch_ns(time) - ancestors[1].start_time",
    "proc.pid.ts": "NULLIF(proc_start_time, 0)",
    "proc.ppid.ts": "ancestors[1].start_time",
    "proc.args.truncated": "proc_is_args_truncated",
    "proc.env.truncated": "proc_is_env_truncated",
    "proc.is_sid_leader": "proc_pid = proc_sid",
    "proc.is_pgid_leader": "proc_pid = proc_pgid",
    "proc.is_vpgid_leader": "proc_vpid = proc_vpgid",
    "proc.script.path": "proc_script.path",
    "proc.exe.age": "epoch_ns(time) - proc_exe_ino_ctime",
    "proc.exe_ino.ctime": "proc_exe_ino_ctime",
    "proc.exe_ino.mtime": "proc_exe_ino_mtime",
    "proc.exe_ino.ctime_duration_proc_start": "proc_start_time - proc_exe_ino_ctime",
    "proc.exe_ino.ctime_duration_pidns_start": "proc_exe_ino_ctime - proc_pidns_init_start_time",
    "proc.pidns_init_start_ts": "proc_pidns_init_start_time",
    "thread.tid": f"NULLIF(thread, {MISSING_INT})",
    "thread.vtid": f"NULLIF(vthread, {MISSING_INT})",
    "thread.ismain": "COALESCE(thread = proc_pid, FALSE)",
    "thread.cgroups": "proc_cgroup",
    "user.uid": "proc_uid",
    "user.name": "proc_user",
    "user.homedir": "proc_home",
    "user.shell": "proc_shell",
    "user.loginuid": "proc_loginuid",
    "user.loginname": "proc_login_name",
    "group.gid": "proc_gid",
    "group.name": "proc_group",
    "container.duration": "epoch_ns(time) - container_start_ts",
    "container.image.id": "container_image_id",
    "container.image.repository": "container_image_repository",
    "container.image.tag": "container_image_tag",
    "container.image.digest": "container_image_digest",
    "container.truncated": "container_is_truncated",
    "k8s.pod.name": "container_pod_name",
    "k8s.pod.uid": "container_pod_uid",
    "k8s.pod.id": "left(container_pod_sandbox_id, 12)",
    "k8s.pod.sandbox_id": "left(container_pod_sandbox_id, 12)",
    "k8s.pod.full_sandbox_id": "container_pod_sandbox_id",
    "k8s.pod.ip": "container_ip",
    "k8s.ns.name": "container_pod_namespace",
    **{name: f"bits & {int(bit)} <> 0" for name, bit in BITS.items()},
    **{
        f"fd.{name}": f"CASE WHEN fd_type IS NOT NULL THEN bits & {int(bit)} <> 0 END"
        for name, bit in {
            "is_server": EventBit.IS_SERVER,
            "connected": EventBit.CONNECTED,
            "name_changed": EventBit.NAME_CHANGED,
            "is_upper_layer": EventBit.UPPER_LAYER,
            "is_lower_layer": EventBit.LOWER_LAYER,
        }.items()
    },
    **{
        f"fd.file.{name.replace('package_version', 'package.version').replace('by_user', 'by.user')}": (
            f"NULLIF(fd_file[{number}], '')"
        )
        for number, name in enumerate(FILE_FACTS[:-1], 1)
    },
    **{
        f"proc.{kind}.{name.replace('package_version', 'package.version').replace('by_user', 'by.user')}": (
            f"proc_{column}.{name}"
        )
        for kind, column in {"exe": "file", "script": "script"}.items()
        for name in FILE_FACTS
    },
    **{
        f"proc.{name}": f"proc_{name}"
        for name in (
            *("exe", "exepath", "name", "codepath", "tty", "sid", "pgid", "vpgid", "exe_ino"),
            *("is_exe_writable", "is_exe_upper_layer", "is_exe_lower_layer", "is_exe_from_memfd"),
        )
    },
    **{f"proc.p{name}": f"ancestors[1].{name}" for name in ("exe", "exepath", "name", "codepath")},
    **{
        f"container.{name}": f"container_{name}"
        for name in (
            *("full_id", "image", "privileged", "start_ts", "ip", "user", "host_pid", "host_network", "host_ipc"),
        )
    },
    **{
        f"container.{name}": (
            f"CASE WHEN proc_container >= 0 THEN container_{name} WHEN proc_pid <> {NOBODY} THEN 'host' END"
        )
        for name in ("id", "name", "type")
    },
}
"""By field; ``:name`` stands for the name of the file, which is also matched as the kernel resolved it."""


def _line(first: str, words: str) -> str:
    return f"CASE WHEN len({words}) > 0 THEN {first} || ' ' || array_to_string({words}, ' ') ELSE {first} END"


def _side(column: str, *, server: bool) -> str:
    own, other = ("local", "remote") if server else ("remote", "local")
    missing = "NULLIF({}_port, -1)" if column == "port" else "{}_ip"
    return (
        f"CASE WHEN bits & {int(EventBit.HAS_ROLE)} = 0 THEN NULL WHEN bits & {int(EventBit.IS_SERVER)} <> 0 "
        f"THEN {missing.format(own)} ELSE {missing.format(other)} END"
    )


_MADE = {
    "proc.cmdline": _line("proc_name", "proc_args"),
    "proc.exeline": _line("proc_exe", "proc_args"),
    "proc.pcmdline": _line("ancestors[1].name", "ancestors[1].args"),
    "proc.pexeline": _line("ancestors[1].exe", "ancestors[1].args"),
    "fd.cip": _side("ip", server=False),
    "fd.sip": _side("ip", server=True),
    "fd.cport": _side("port", server=False),
    "fd.sport": _side("port", server=True),
}
_NETS = {"fd.cnet": "fd.cip", "fd.snet": "fd.sip", "fd.lnet": "fd.lip", "fd.rnet": "fd.rip"}
_ENDS = {
    "fd.ip": ("local_ip", "remote_ip"),
    "fd.net": ("local_ip", "remote_ip"),
    "fd.port": ("NULLIF(local_port, -1)", "NULLIF(remote_port, -1)"),
    "fd.proto": ("NULLIF(local_port, -1)", "NULLIF(remote_port, -1)"),
}
_LISTS = {
    "dns.answers": "list_filter(string_split(dns, ' ')[4:], lambda x: x IS NOT NULL)",
    **{
        f"proc.a{name}": f"list_filter(list_transform(ancestors, lambda a: a.{name}), lambda x: x IS NOT NULL)"
        for name in ("name", "exe", "exepath", "codepath")
    },
}
_BITS = {f"thread.cap_{name}": f"proc_cap_{name}" for name in ("effective", "permitted", "inheritable")}
_OF_ANCESTOR = {**{f"proc.a{name}": name for name in ("name", "exe", "exepath", "codepath")}, "proc.apid": "pid"}
_WITH_ARGUMENT = {
    "evt.arg": "list_filter(arguments, lambda a: a.name = :argument)[1].value",
    "proc.env": (
        "CASE WHEN proc_env IS NOT NULL THEN COALESCE(substr(list_filter(proc_env, "
        "lambda e: starts_with(e, :argument || '='))[1], length(:argument) + 2), '') END"
    ),
    "container.label": "list_filter(container_labels, lambda l: l.key = :argument)[1].value",
    "k8s.pod.label": "list_filter(container_pod_labels, lambda l: l.key = :argument)[1].value",
    "evt.type.is": "CASE WHEN type = :argument THEN 1 ELSE 0 END",
}
_BY_INDEX = {
    "evt.arg": "arguments[:index].value",
    "proc.args": "CASE WHEN proc_args IS NOT NULL THEN COALESCE(proc_args[:index], '') END",
}
_BY_TYPE: Mapping[str, Callable[[str], object]] = {
    "syscall.type": system_call,
    "evt.dir": direction,
    "evt.is_io_read": is_read,
    "evt.is_io_write": is_write,
    "evt.is_wait": is_wait,
    "evt.io_dir": io_direction,
}
"""Fields that the type of an event determines."""
_NAMED = frozenset({"fd.name", "fd.directory", "fd.filename", "fs.path.name", "evt.path"})
_CHANGES_OF_FILES = ("fchmod", "fchown", "ftruncate", "fallocate", "fsetxattr", "futimesat", "utimensat")


@cache
def _parsed(sql: str) -> exp.Expr:
    return parse_one(sql, dialect=DIALECT)


def _sql(text: str, **values: exp.Expr) -> exp.Expr:
    """Return a copy of an expression of the tables above, with its placeholders replaced."""

    def replaced(node: exp.Expr) -> exp.Expr:
        return values[node.name].copy() if isinstance(node, exp.Placeholder) else node

    made = _parsed(text).copy().transform(replaced, copy=False)
    return (
        made
        if isinstance(made, exp.Column | exp.Func | exp.Case | exp.Dot | exp.Bracket | exp.Literal)
        else exp.paren(made)
    )


def text_literal(text: str) -> exp.Expr:
    """Return a text as a literal of SQL."""
    return exp.Literal.string(archived_text(text))


def _name(*, real: bool) -> exp.Expr:
    return exp.column("fd_realpath" if real else "fd_name")


def of_types(names: Iterable[str]) -> exp.Expr:
    """Return whether an event has one of these types."""
    return exp.In(this=exp.column("type"), expressions=[exp.Literal.string(name) for name in sorted(names)])


@cache
def _by_type(field: str) -> exp.Expr:
    """Return an expression that lists the types for each value; other types have that of an unknown one."""
    of = _BY_TYPE[field]
    groups: dict[object, list[str]] = {}
    for name in ALL_EVENT_TYPES:
        groups.setdefault(of(name), []).append(name)
    case = exp.Case(default=_constant(of("\0"), "type"))
    for value, names in groups.items():
        case = case.when(of_types(names), _constant(value, "type"), copy=False)
    return case


@cache
def _result() -> exp.Expr:
    """Return evt.res: the name of an error for types whose first parameter is one, a descriptor or unknown."""
    numbers, hexadecimal, without = list[str](), list[str](), list[str]()
    for name in ALL_EVENT_TYPES:
        first = parameter(name, "0")
        if first is not None and first.type in ("UID", "GID"):
            without.append(name)
        elif first is not None and first.type not in ("ERRNO", "FD"):
            (hexadecimal if first.format == "HEX" else numbers).append(name)
    number = _sql("CAST(res AS TEXT)")
    case = exp.Case(default=number.copy())
    case = case.when(_sql(f"bits & {int(EventBit.HAS_RES)} = 0"), exp.null(), copy=False)
    case = case.when(_sql("res >= 0"), exp.Literal.string("SUCCESS"), copy=False)
    case = case.when(of_types(without), exp.Literal.string("<NONE>"), copy=False)
    case = case.when(of_types(numbers), number, copy=False).when(of_types(hexadecimal), _sql("hex(res)"), copy=False)
    for code, name in errorcode.items():
        case = case.when(exp.column("res").eq(-code), exp.Literal.string(name), copy=False)
    return case


def _constant(value: object, own: str) -> exp.Expr:
    return exp.null() if value is None else exp.column(own) if value == "\0" else exp.convert(value)


def _path_name(name: exp.Expr) -> exp.Expr:
    opened = _sql("CASE WHEN res <> -1 THEN :name END", name=name)
    changed = exp.and_(of_types(_CHANGES_OF_FILES), _sql("res = 0"), copy=False)
    found = exp.Case().when(of_types(FLAG_OPENERS), opened, copy=False).when(changed, name.copy(), copy=False)
    return exp.Coalesce(this=_sql("NULLIF(path_name, '')"), expressions=[found])


@cache
def _path_types() -> dict[str, list[str]]:
    """Return the types of events for which evt.path is a field, by that field."""
    of: dict[str, list[str]] = {}
    for event_type in ALL_EVENT_TYPES:
        of.setdefault(path_field(event_type), []).append(event_type)
    return of


def _path(name: exp.Expr) -> exp.Expr:
    of = _path_types()
    case = exp.Case(default=_path_name(name)).when(of_types(of["fd.name"]), name.copy(), copy=False)
    return case.when(of_types(of["fs.path.target"]), exp.column("path_target"), copy=False)


def reads_name(field: str) -> bool:
    """Return whether a field is about the name of the file, which has a second form."""
    return field in _NAMED or field in ("fd.containername", "fd.containerdirectory", "evt.is_syslog")


def field_column(field: str, argument: str | None = None, *, real: bool = False) -> FieldColumn | None:
    """Return a field as SQL; None if SQL can't state it. real: use the file's name as the kernel resolved it."""
    if argument is not None:
        text = _argument(field, argument)
        return None if text is None else FieldColumn((text,))
    if field in _BY_TYPE:
        return FieldColumn((_by_type(field),))
    if field == "evt.res":
        return FieldColumn((_result(),))
    if field in ("fs.path.name", "evt.path"):
        return FieldColumn(((_path if field == "evt.path" else _path_name)(_name(real=real)),))
    if field in _ENDS:
        return FieldColumn(tuple(map(_sql, _ENDS[field])), "ends")
    if field in _BITS:
        return FieldColumn((exp.column(_BITS[field]),), "bits")
    if field in _LISTS:
        return FieldColumn((_sql(_LISTS[field]),), "list")
    found = _PLAIN.get(field) or _MADE.get(_NETS.get(field, field)) or _PLAIN.get(_NETS.get(field, ""))
    return None if found is None else FieldColumn((_sql(found, name=_name(real=real)),))


def _argument(field: str, argument: str) -> exp.Expr | None:
    if argument.isdigit():
        # Beyond that, the archive has no ancestors.
        if field in _OF_ANCESTOR and 0 < int(argument) <= MAX_ANCESTORS:
            # sqlglot counts from 0, and writes what the dialect counts from.
            row = exp.Bracket(this=exp.column("ancestors"), expressions=[exp.Literal.number(int(argument) - 1)])
            return exp.Dot(this=row, expression=exp.to_identifier(_OF_ANCESTOR[field]))
        if field in _BY_INDEX and len(argument) < 6:
            return _sql(_BY_INDEX[field], index=exp.Literal.number(int(argument)))
        return None
    found = _WITH_ARGUMENT.get(field)
    return None if found is None else _sql(found, argument=text_literal(argument))


def column_name(field: str) -> str:
    """Return the name that a field has as a column: proc_name for proc.name."""
    return field.replace(".", "_").replace("[", "_").replace("]", "")


def view_columns() -> Iterator[tuple[str, str, exp.Expr]]:
    """Yield each field that SQL can state with its column of the view `events`, and the expression."""
    for field in FIELDS:
        column = field_column(field)
        if column is None or column.form == "bits" or resolve_field(field) is None:
            continue
        value = column.values[0] if column.form != "ends" else exp.Array(expressions=list(column.values))
        yield field, column_name(field), value
