"""The expressions of the fields, one table per field class.

Adding a field adds one line here. extract.py binds the names that an expression may use.
"""

import re

from schemas.batch import FILE_FACTS, MISSING_INT, EventBit


def _bit(flag: EventBit) -> str:
    return f"(c_bits[i] & {int(flag)} != 0)"


def _text(column: str) -> str:
    return f"S[c_{column}[i]]"


def _number(column: str, missing: int = MISSING_INT) -> str:
    return f"(x_{column} if (x_{column} := c_{column}[i]) != {missing} else None)"


def _ends(function: str, kind: str) -> str:
    if kind == "ip":
        return f"{function}(c_bits[i], S[c_local_ip[i]], S[c_remote_ip[i]])"
    return f"{function}(c_bits[i], {_number('local_port', -1)}, {_number('remote_port', -1)})"


_OF_FILE = {
    "sha256": "sha256",
    "origin": "origin",
    "package": "package",
    "package.version": "package_version",
    "package.type": "package_type",
    "written_by": "written_by",
    "written_by.user": "written_by_user",
}
"""Facts about a file that are texts, and their names in ProgramFile."""
_TYPE = _text("type")
_HAS_FD = f"(c_fd_num[i] != {MISSING_INT})"
_FD = _number("fd_num")
_FDTYPE = _text("fd_type")
_CONTAINER = "container_of(C, q)"
_FAILED = f"c_bits[i] & {int(EventBit.FAILED)}"
_HAS_RES = f"c_bits[i] & {int(EventBit.HAS_RES)}"
# An event can represent equal events that the collector counted instead of sending.
_COUNT = "(1 + c_repeats[i])"
_ERRORS = f"({_COUNT} if {_FAILED} else 0 if {_HAS_RES} else None)"
_L4 = _text("l4proto")
# A listening socket has a server end but no local end, as in Falco.
_CONNECTED_IP = "(S[c_local_ip[i]] if c_remote_ip[i] else None)"
_CONNECTED_PORT = "(c_local_port[i] if c_remote_ip[i] and c_local_port[i] != -1 else None)"

_ADDRESSES = {
    "fd.cip": _ends("client_side", "ip"),
    "fd.sip": _ends("server_side", "ip"),
    "fd.lip": _CONNECTED_IP,
    "fd.rip": _text("remote_ip"),
}

BITS: dict[str, EventBit] = {
    "evt.is_open_read": EventBit.OPEN_READ,
    "evt.is_open_write": EventBit.OPEN_WRITE,
    "evt.is_open_exec": EventBit.OPEN_EXEC,
    "evt.is_open_create": EventBit.OPEN_CREATE,
    "evt.is_open_setuid": EventBit.OPEN_SETUID,
    "evt.failed": EventBit.FAILED,
    "evt.io_uring": EventBit.IO_URING,
}

_EVENT: dict[str, str] = {
    "evt.num": "(B.numbers[i] if B.numbers else B.first_number + i)",
    "evt.time": "clock(c_time[i])",
    "evt.time.s": "clock_seconds(c_time[i])",
    "evt.time.iso8601": "iso8601(c_time[i])",
    "evt.datetime": "date_and_time(c_time[i])",
    "evt.datetime.s": "date_and_time_seconds(c_time[i])",
    "evt.outputtime": "clock(c_time[i])",
    "evt.rawtime": "c_time[i]",
    "evt.rawtime.s": "(c_time[i] // 1000000000)",
    "evt.rawtime.ns": "(c_time[i] % 1000000000)",
    "evt.reltime": "(c_time[i] - B.collector_start)",
    "evt.reltime.s": "((c_time[i] - B.collector_start) // 1000000000)",
    "evt.reltime.ns": "((c_time[i] - B.collector_start) % 1000000000)",
    "evt.deltatime": "(c_time[i] - c_time[i - 1] if i else None)",
    "evt.deltatime.s": "((c_time[i] - c_time[i - 1]) // 1000000000 if i else None)",
    "evt.deltatime.ns": "((c_time[i] - c_time[i - 1]) % 1000000000 if i else None)",
    "evt.dir": f"direction({_TYPE})",
    "evt.type": _TYPE,
    "syscall.type": f"system_call({_TYPE})",
    "evt.category": f"shown_category({_TYPE}, {_FDTYPE})",
    "evt.cpu": "c_cpu[i]",
    "evt.args": "arguments_text(B, i)",
    "evt.info": "arguments_text(B, i)",
    "evt.buffer": _text("buffer"),
    "evt.buflen": f"(c_res[i] if c_res[i] >= 0 and is_io({_TYPE}, is_known=c_fd_type[i]) else None)",
    "evt.buflen.in": f"(c_res[i] if is_read({_TYPE}) and c_res[i] >= 0 else None)",
    "evt.buflen.out": f"(c_res[i] if is_write({_TYPE}) and c_res[i] >= 0 else None)",
    "evt.res": f"(result_text({_TYPE}, c_res[i]) if {_HAS_RES} else None)",
    "evt.rawres": f"(c_res[i] if {_HAS_RES} else None)",
    "evt.is_io": f"is_io({_TYPE})",
    "evt.is_io_read": f"is_read({_TYPE})",
    "evt.is_io_write": f"is_write({_TYPE})",
    "evt.io_dir": f"io_direction({_TYPE})",
    "evt.is_wait": f"is_wait({_TYPE})",
    "evt.is_syslog": f"is_syslog({_TYPE}, {_text('fd_name')})",
    "evt.count": _COUNT,
    "evt.count.exit": f"({_COUNT} if direction({_TYPE}) == '<' else None)",
    "evt.count.procinfo": f"({_COUNT} if {_TYPE} == 'procinfo' and c_thread[i] == q.pid else 0)",
    "evt.count.threadinfo": f"({_COUNT} if {_TYPE} == 'procinfo' else 0)",
    "evt.count.error": _ERRORS,
    **{
        f"evt.count.error.{kind}": f"({_ERRORS} if '{kind}' in error_kinds({_TYPE}, {_FDTYPE}) else None)"
        for kind in ("file", "net", "memory", "other")
    },
    "evt.abspath": "path_at(B, i, 'src')",
    "evt.source": "'syscall'",
    "evt.is_async": f"({_TYPE} in ('notification', 'asyncevent', 'container', 'page_fault', 'procinfo'))",
    "evt.hostname": "B.hostname",
}

_ANSWERS = f"words_from({_text('dns')}, 3)"
_PATH_NAME = f"({_text('path_name')} or path_of_descriptor({_TYPE}, S[n], c_res[i]))"
_DESCRIPTOR: dict[str, str] = {
    "fd.num": f"(descriptor_number(B, i) if c_fd_num[i] == -1 else {_FD})",
    "fd.type": _FDTYPE,
    "fd.typechar": f"type_character({_TYPE}, {_FDTYPE}, {_FD})",
    "fd.name": "S[n]",
    "fd.nameraw": _text("fd_name_raw"),
    "fd.realpath": _text("fd_realpath"),
    "fd.directory": f"directory({_FDTYPE}, S[n])",
    "fd.filename": f"(file_part(S[n]) if {_FDTYPE} == 'file' and S[n] is not None else None)",
    **_ADDRESSES,
    "fd.cport": _ends("client_side", "port"),
    "fd.sport": _ends("server_side", "port"),
    "fd.lport": _CONNECTED_PORT,
    "fd.rport": _number("remote_port", -1),
    "fd.cnet": _ends("client_side", "ip"),
    "fd.snet": _ends("server_side", "ip"),
    "fd.lnet": _CONNECTED_IP,
    "fd.rnet": _text("remote_ip"),
    **{f"{field}.name": f"first_name(B, i, {address})" for field, address in _ADDRESSES.items()},
    "fd.cproto": f"service_name({_ends('client_side', 'port')}, {_L4})",
    "fd.sproto": f"service_name({_ends('server_side', 'port')}, {_L4})",
    "fd.lproto": f"service_name({_CONNECTED_PORT}, {_L4})",
    "fd.rproto": f"service_name({_number('remote_port', -1)}, {_L4})",
    "fd.l4proto": f"({_L4} or ('<NA>' if c_fd_type[i] else None))",
    "fd.sockfamily": _text("sock_family"),
    "fd.is_server": f"({_bit(EventBit.IS_SERVER)} if c_fd_type[i] else None)",
    "fd.connected": f"({_bit(EventBit.CONNECTED)} if c_fd_type[i] else None)",
    "fd.name_changed": f"({_bit(EventBit.NAME_CHANGED)} if c_fd_type[i] else None)",
    "fd.is_upper_layer": f"({_bit(EventBit.UPPER_LAYER)} if c_fd_type[i] else None)",
    "fd.is_lower_layer": f"({_bit(EventBit.LOWER_LAYER)} if c_fd_type[i] else None)",
    "fd.uid": f"descriptor_uid(c_thread[i], {_FD})",
    "fd.containername": "with_container(container_id(C, q), S[n])",
    "fd.containerdirectory": f"with_container(container_id(C, q), directory({_FDTYPE}, S[n]))",
    "fd.dev": "(c_fd_dev[i] or None)",
    "fd.dev.major": "((c_fd_dev[i] & 0xFFF00) >> 8 if c_fd_dev[i] else None)",
    "fd.dev.minor": "(c_fd_dev[i] & 0xFF | c_fd_dev[i] >> 12 & 0xFFF00 if c_fd_dev[i] else None)",
    "fd.ino": f"(c_fd_ino[i] if {_HAS_FD} and c_fd_type[i] else None)",
    "fs.path.name": _PATH_NAME,
    "evt.path": f"path_of_event({_TYPE}, S[n], {_text('path_target')}, {_PATH_NAME})",
    "fs.path.nameraw": (
        f"({_text('path_name_raw')} or path_of_descriptor({_TYPE}, {_text('fd_name_raw')} or S[n], c_res[i]))"
    ),
    "fs.path.source": _text("path_source"),
    "fs.path.sourceraw": _text("path_source_raw"),
    "fs.path.target": _text("path_target"),
    "fs.path.targetraw": _text("path_target_raw"),
    **{
        f"fd.file.{name}": f"file_fact({_text('fd_file')}, {FILE_FACTS.index(member)})"
        for name, member in _OF_FILE.items()
    },
    "fd.file.written_at": f"file_time({_text('fd_file')})",
    "dns.question.name": f"word({_text('dns')}, 0)",
    "dns.question.registered_domain": f"registered_domain(word({_text('dns')}, 0))",
    "dns.question.type": f"word({_text('dns')}, 1)",
    "dns.response_code": f"word({_text('dns')}, 2)",
    "tls.client.server_name": _text("server_name"),
    "dns.answers": f"(' '.join({_ANSWERS}) or None)",
}

_PID = "(q.pid if q.pid <= 4294967295 else None)"
# Captures made in a sandbox have larger ids, which are not the kernel's; Falco shows none.
_SESSION = "session_leader(P, q)"
_GROUP = "group_leader(P, q)"

_PROCESS: dict[str, str] = {
    "proc.exe": "q.exe",
    "proc.exepath": "q.exepath",
    "proc.name": "q.name",
    "proc.pexe": "(P[q.parent].exe if q.parent >= 0 else None)",
    "proc.pexepath": "(P[q.parent].exepath if q.parent >= 0 else None)",
    "proc.codepath": "q.codepath",
    "proc.pcodepath": "(P[q.parent].codepath if q.parent >= 0 else None)",
    "proc.pname": "(P[q.parent].name if q.parent >= 0 else None)",
    "proc.args": "arguments(q)",
    "proc.cmdline": "command_line(q)",
    "proc.pcmdline": "(command_line(P[q.parent]) if q.parent >= 0 else None)",
    "proc.cmdnargs": "argument_count(q)",
    "proc.cmdlenargs": "argument_length(q)",
    "proc.exeline": "executed_line(q)",
    "proc.pexeline": "(executed_line(P[q.parent]) if q.parent >= 0 else None)",
    "proc.env": "environment(q)",
    "proc.cwd": "working_directory(q)",
    "proc.loginshellid": "login_shell(P, q)",
    "proc.tty": "q.tty",
    "proc.pid": _PID,
    "proc.ppid": "(q.ppid if (q.ppid or 0) <= 4294967295 else None)",
    "proc.vpid": "(q.vpid if q.vpid != -1 else None)",
    "proc.pvpid": "(P[q.parent].vpid if q.parent >= 0 and P[q.parent].vpid != -1 else None)",
    "proc.sid": "q.sid",
    "proc.sname": f"attribute({_SESSION}, 'name')",
    "proc.sid.exe": f"attribute({_SESSION}, 'exe')",
    "proc.sid.exepath": f"attribute({_SESSION}, 'exepath')",
    "proc.pgid": "q.pgid",
    "proc.vpgid": "q.vpgid",
    **{
        f"proc.{group}.{name}": f"attribute({_GROUP}, '{name}')"
        for group in ("pgid", "vpgid")
        for name in ("name", "exe", "exepath")
    },
    "proc.duration": "difference(c_time[i], q.start_time)",
    "proc.ppid.duration": "(difference(c_time[i], P[q.parent].start_time) if q.parent >= 0 else None)",
    "proc.pid.ts": "(q.start_time or None)",
    "proc.ppid.ts": "(P[q.parent].start_time if q.parent >= 0 else None)",
    "proc.is_exe_writable": "q.is_exe_writable",
    "proc.is_exe_upper_layer": "q.is_exe_upper_layer",
    "proc.is_exe_lower_layer": "q.is_exe_lower_layer",
    "proc.is_exe_from_memfd": "q.is_exe_from_memfd",
    "proc.args.truncated": "q.is_args_truncated",
    "proc.env.truncated": "q.is_env_truncated",
    "proc.is_sid_leader": "is_leader(q.pid, q.sid)",
    "proc.is_pgid_leader": "is_leader(q.pid, q.pgid)",
    "proc.is_vpgid_leader": "is_leader(q.vpid, q.vpgid)",
    **{
        f"proc.{kind}.{field}": f"(q.{of} and q.{of}.{attribute})"
        for kind, of in {"exe": "file", "script": "script"}.items()
        for field, attribute in {**_OF_FILE, "written_at": "written_at"}.items()
    },
    "proc.script.path": "(q.script and q.script.path)",
    "proc.exe.age": "difference(c_time[i], q.exe_ino_ctime)",
    "proc.exe_ino": "q.exe_ino",
    "proc.exe_ino.ctime": "q.exe_ino_ctime",
    "proc.exe_ino.mtime": "q.exe_ino_mtime",
    "proc.exe_ino.ctime_duration_proc_start": "difference(q.start_time, q.exe_ino_ctime)",
    "proc.exe_ino.ctime_duration_pidns_start": "difference(q.exe_ino_ctime, q.pidns_init_start_time)",
    "proc.pidns_init_start_ts": "q.pidns_init_start_time",
    "proc.is_container_healthcheck": "False",
    "proc.is_container_liveness_probe": "False",
    "proc.is_container_readiness_probe": "False",
    "thread.cap_permitted": "capability_text(q.cap_permitted)",
    "thread.cap_inheritable": "capability_text(q.cap_inheritable)",
    "thread.cap_effective": "capability_text(q.cap_effective)",
    "thread.tid": _number("thread"),
    "thread.ismain": "(c_thread[i] == q.pid)",
    "thread.vtid": _number("vthread"),
    "thread.nametid": "(q.name and f'{q.name}{c_thread[i]}')",
    "thread.cgroups": "q.cgroup",
    "user.uid": "q.uid",
    "user.name": "q.user",
    "user.homedir": "q.home",
    "user.shell": "q.shell",
    "user.loginuid": "q.loginuid",
    "user.loginname": "q.login_name",
    "group.gid": "q.gid",
    "group.name": "q.group",
}


def _of_container(attribute: str) -> str:
    return f"(C[q.container].{attribute} if q.container >= 0 else None)"


_OF_CONTAINER: dict[str, str] = {
    "container.id": "container_id(C, q)",
    "container.name": "container_name(C, q)",
    "container.type": "container_type(C, q)",
    **{
        f"container.{field}": _of_container(attribute)
        for field, attribute in {
            "full_id": "full_id",
            "image": "image",
            "image.id": "image_id",
            "image.repository": "image_repository",
            "image.tag": "image_tag",
            "image.digest": "image_digest",
            "privileged": "privileged",
            "start_ts": "start_ts",
            "ip": "ip",
            "user": "user",
            "host_pid": "host_pid",
            "host_network": "host_network",
            "host_ipc": "host_ipc",
            "truncated": "is_truncated",
        }.items()
    },
    "container.duration": f"difference(c_time[i], {_of_container('start_ts')})",
    "container.mounts": f"mounts_text({_CONTAINER})",
    "container.labels": f"labels_text({_of_container('labels')})",
    "k8s.pod.name": _of_container("pod_name"),
    "k8s.pod.uid": _of_container("pod_uid"),
    "k8s.pod.id": f"short_id({_of_container('pod_sandbox_id')})",
    "k8s.pod.sandbox_id": f"short_id({_of_container('pod_sandbox_id')})",
    "k8s.pod.full_sandbox_id": _of_container("pod_sandbox_id"),
    "k8s.pod.labels": f"labels_text({_of_container('pod_labels')})",
    "k8s.pod.ip": _of_container("ip"),
    "k8s.ns.name": _of_container("pod_namespace"),
}

_POD = "pod_of(C, q)"
_OWNERS = {"rs": "ReplicaSet", "rc": "ReplicationController", "deployment": "Deployment"}
_OF_POD: dict[str, str] = {
    "k8s.ns.id": f"pod_part({_POD}, 'namespace_uid')",
    "k8s.ns.labels": f"labels_text(namespace_labels({_POD}))",
    **{f"k8s.{short}.name": f"owner_part({_POD}, {kind!r}, 'name')" for short, kind in _OWNERS.items()},
    **{f"k8s.{short}.id": f"owner_part({_POD}, {kind!r}, 'uid')" for short, kind in _OWNERS.items()},
    **{f"k8s.{short}.labels": f"labels_text(owner_labels({_POD}, {kind!r}))" for short, kind in _OWNERS.items()},
    "k8s.svc.name": f"joined(service_parts({_POD}, 'name'))",
    "k8s.svc.id": f"joined(service_parts({_POD}, 'uid'))",
    "k8s.svc.labels": f"labels_text(all_service_labels({_POD}))",
    "k8s.owner.kind": f"top_owner_part({_POD}, 'kind')",
    "k8s.owner.name": f"top_owner_part({_POD}, 'name')",
    "k8s.owner.id": f"top_owner_part({_POD}, 'uid')",
    "k8s.serviceaccount.name": f"pod_part({_POD}, 'service_account')",
    "k8s.node.name": f"pod_part({_POD}, 'node')",
    "k8s.cluster.name": f"pod_part({_POD}, 'cluster')",
}

PLAIN: dict[str, str] = {
    **_EVENT,
    **_DESCRIPTOR,
    **_PROCESS,
    **_OF_CONTAINER,
    **_OF_POD,
    **{name: _bit(bit) for name, bit in BITS.items()},
}

ANCESTRY: dict[str, str] = {
    "proc.aname": "q.name",
    "proc.aexe": "q.exe",
    "proc.aexepath": "q.exepath",
    "proc.acodepath": "q.codepath",
    "proc.acmdline": "command_line(q)",
    "proc.aargs": "arguments(q)",
    "proc.aenv": "environment(q)",
    "proc.apid": _PID,
}
"""The expression of each ancestor field, with the ancestor as ``q``."""

BOTH_ENDS: dict[str, str] = {
    "fd.ip": "present(S[c_local_ip[i]], S[c_remote_ip[i]])",
    "fd.net": "present(S[c_local_ip[i]], S[c_remote_ip[i]])",
    "fd.port": f"present({_number('local_port', -1)}, {_number('remote_port', -1)})",
    "fd.proto": f"present({_number('local_port', -1)}, {_number('remote_port', -1)})",
}

SEVERAL: dict[str, str] = {
    "dns.answers": _ANSWERS,
    "k8s.svc.name": f"service_parts({_POD}, 'name')",
    "k8s.svc.id": f"service_parts({_POD}, 'uid')",
}
"""The expression of all values of a field that has several, any of which a condition may match."""

NAMES: dict[str, tuple[str, str]] = {
    f"{field}.name": (f"all_names(B, i, {address})", address) for field, address in _ADDRESSES.items()
}
"""The name of an address in a condition: the expressions of all its names, and of the address."""


def with_argument(field: str, argument: str) -> str | None:
    """Return the expression of a field with an argument; None if batches never contain it."""
    quoted = repr(argument)
    if field in ANCESTRY:
        if argument.isdigit():
            return ANCESTRY[field] if argument == "0" else _one_up(field, int(argument))
        return f"inherited_variable(P, q, {quoted})"
    if field in ("container.mount.source", "container.mount.dest", "container.mount.mode", "container.mount.rdwr"):
        return f"mount_part({_CONTAINER}, {quoted}, '{field.rpartition('.')[2]}')"
    if field in ("k8s.rs.label", "k8s.rc.label", "k8s.deployment.label"):
        return f"label(owner_labels({_POD}, {_OWNERS[field.split('.')[1]]!r}), {quoted})"
    return {
        "evt.arg": f"argument_text(B, i, {quoted})",
        "evt.rawarg": f"raw_argument(B, i, {quoted})",
        "evt.type.is": f"(1 if {_TYPE} == {quoted} else 0)",
        "evt.abspath": f"path_at(B, i, {quoted})",
        "proc.args": f"argument(q, {quoted if not argument.isdigit() else int(argument)})",
        "proc.env": f"variable(q, {quoted})",
        "thread.cgroup": f"cgroup_of(q.cgroup, {quoted})",
        "container.label": f"label({_of_container('labels')}, {quoted})",
        "container.mount": f"mount({_CONTAINER}, {quoted})",
        "container.mount.propagation": f"mount_part({_CONTAINER}, {quoted}, 'propagation')",
        "k8s.pod.label": f"label({_of_container('pod_labels')}, {quoted})",
        "k8s.ns.label": f"label(namespace_labels({_POD}), {quoted})",
        "k8s.svc.label": f"joined(service_labels({_POD}, {quoted}))",
    }.get(field)


def _one_up(field: str, level: int) -> str:
    what = re.sub(r"\bq\b", "a", ANCESTRY[field])
    return f"({what} if (a := ancestor(P, q, {level})) is not None else None)"
