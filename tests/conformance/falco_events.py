"""Builds event batches from the raw events of Falco's unit tests.

A case contains an event's parameters and the preceding events; a small state machine tracks what a collector
would know by then (threads, descriptors, names). Batches do not hold, and the tests do not cover: counts of
threads and children, memory and fault counters, descriptor tables (fd.types, proc.stdin.*), the descriptor
limit, and attributes that cases set on Falco's objects without an event.
"""

from dataclasses import dataclass, field, replace
from typing import Any

from schemas.batch import EventBatch, Process, empty_columns
from schemas.catalogue.fields import EVENTS, FLAG_TABLES, number_text
from schemas.columns import ARGUMENT_COLUMNS, EVENT_COLUMNS, MISSING_INT, EventBit
from tests.conformance.parameters import ends_of, plain, words

HOSTNAME = "testbox"
_BASE_TIME = 1_566_230_400_000_000_000
_TYPE_OF_CREATOR = {
    "signalfd": "signalfd",
    "signalfd4": "signalfd",
    "timerfd_create": "timerfd",
    "inotify_init": "inotify",
    "inotify_init1": "inotify",
    "eventfd": "event",
    "eventfd2": "event",
    "bpf": "bpf",
    "userfaultfd": "userfaultfd",
    "io_uring_setup": "io_uring",
    "epoll_create": "eventpoll",
    "epoll_create1": "eventpoll",
    "pidfd_open": "pidfd",
    "memfd_create": "memfd",
}
_OPENS = ("open", "openat", "openat2", "creat", "open_by_handle_at")
_WIDE = frozenset({"time", "res", "fd_ino", "bits", "fd_dev"})
_FALCO_UID_ENTRY = {5: "test"}


@dataclass
class Descriptor:
    """The state of an open descriptor."""

    type: str | None = None
    name: str = ""
    ino: int = 0
    dev: int = 0
    upper: bool = False
    lower: bool = False
    local: tuple[str, int] | None = None
    remote: tuple[str, int] | None = None
    is_server: bool | None = None
    connected: bool = False
    family: str | None = None
    l4: str | None = None


@dataclass
class Thread:
    """A thread, as in Falco's own table."""

    tid: int
    process: Process
    vtid: int = 0
    fds: dict[int, Descriptor] = field(default_factory=dict)


class Machine:
    """Tracks the events of a case."""

    def __init__(self, own_side: str = "client") -> None:
        """Start with the process that all cases start with.

        own_side is the end of a connection that belongs to this host. The cases' host owns neither address, in
        which case Falco treats the server's end as local.
        """
        self.own_side = own_side
        self.entered: dict[str, Any] = {}
        init = Process(
            *(1, 0, 1, 1, 1, 1),
            name="init",
            exe="/sbin/init",
            exepath="/sbin/init",
            args=(),
            env=(),
            cwd="/root/",
            tty=0,
            uid=0,
            gid=0,
            user="root",
            group="root",
            loginuid=-1,
        )
        self.threads = {1: Thread(1, init, 1)}
        self.count = 0

    def apply(self, event: dict[str, Any]) -> EventBatch:
        """Process one event and return the batch that a collector would have made of it."""
        kind, tid = event["evt.type"], event.get("tid", 1)
        given = {name: plain(value) for name, value in (event.get("params") or {}).items()}
        if event.get("direction") == ">" and kind not in ("procexit", "procinfo", "notification"):
            self.entered = {"kind": kind, **given}
            return _EMPTY
        if not event.get("filtered_out"):
            self.count += 1
        thread = self.threads.get(tid)
        if thread is None:
            thread = self.threads[tid] = Thread(tid, Process(pid=tid), tid)
        fact = _Event(kind, given, thread)
        self._change(fact)
        return self._batch(fact)

    def _change(self, event: "_Event") -> None:
        kind, given, thread = event.kind, event.given, event.thread
        if kind in ("clone", "fork", "vfork", "clone3"):
            self._clone(event)
        elif kind in ("execve", "execveat") and (given.get("res") or 0) >= 0:
            self._exec(event)
        elif kind in _OPENS:
            if self.entered.get("kind") == kind and self.entered.get("name"):
                given["name"] = self.entered["name"]
            _open(event)
        elif kind in ("setuid", "setresuid", "setgid", "setresgid") and given["res"] >= 0:
            number = given.get("uid", given.get("gid", given.get("euid", given.get("egid"))))
            attribute = "uid" if kind.endswith("uid") else "gid"
            thread.process = replace(thread.process, **{attribute: number})
        elif kind == "chdir" and given["res"] >= 0 and given["path"]:
            thread.process = replace(thread.process, cwd=given["path"].rstrip("/") + "/")
        elif kind == "fchdir" and given["res"] >= 0:
            thread.process = replace(thread.process, cwd=thread.fds[given["fd"]].name.rstrip("/") + "/")
        elif kind in ("dup", "dup2", "dup3"):
            if given["res"] >= 0 and given["oldfd"] in thread.fds:
                thread.fds[given["res"]] = thread.fds[given["oldfd"]]
            event.fd = given["res"]
        elif kind in ("pipe", "pipe2"):
            pipe = Descriptor("pipe", ino=given["ino"])
            thread.fds[given["fd1"]] = thread.fds[given["fd2"]] = pipe
            event.fd = given["fd2"]
        elif kind == "pidfd_getfd":
            self._borrowed(event)
        elif kind in _TYPE_OF_CREATOR:
            number = given.get("res", given.get("fd"))
            if kind == "bpf" and "cmd" not in given:
                given["cmd"] = None
            if kind in ("signalfd", "signalfd4", "inotify_init", "memfd_create", "pidfd_open") or number is not None:
                name = given.get("name") or ""
                pid = given.get("pid")
                thread.fds[number] = Descriptor(_TYPE_OF_CREATOR[kind], name if pid is None else str(pid))
            event.fd = number
        elif kind in ("socket", "connect", "bind", "accept", "accept4", "sendto"):
            _socket(event)
        elif "fd" in given:
            event.fd = given["fd"]

    def _clone(self, event: "_Event") -> None:
        given, thread = event.given, event.thread
        flags = set((given.get("flags") or {}).get("flags", ())) if isinstance(given.get("flags"), dict) else set()
        child_id = given["res"] if given["res"] > 0 else event.thread.tid
        parent_pid = given["pid"] if given["res"] > 0 else given["ptid"]
        if given["res"] > 0 and "PPM_CL_CLONE_PARENT" in flags:
            parent_pid = given["ptid"]
        base = thread.process
        pid = given["pid"] if "PPM_CL_CLONE_THREAD" in flags or given["res"] == 0 else child_id
        child = replace(
            base,
            pid=pid,
            ppid=parent_pid,
            vpid=given["vpid"] if given["res"] == 0 else pid,
            name=given["comm"],
            exe=given["exe"],
            args=words(given["args"]),
            cwd=given["cwd"] or base.cwd,
            uid=given["uid"],
            gid=given["gid"],
        )
        parent = self.threads.get(given["ptid"]) if given["res"] == 0 else thread
        if given["res"] == 0 and parent is not None:
            child = replace(
                child,
                exepath=parent.process.exepath,
                sid=parent.process.sid,
                env=parent.process.env,
                vpgid=parent.process.vpgid,
            )
        if given["res"] > 0 and given["args"]:
            thread.process = replace(base, args=words(given["args"]))
        if child_id not in self.threads or given["res"] == 0:
            self.threads[child_id] = Thread(
                child_id, child, given["vtid"], dict(parent.fds) if parent is not None else {}
            )
        if given["res"] == 0:
            event.thread = self.threads[child_id]

    def _exec(self, event: "_Event") -> None:
        given, thread = event.given, event.thread
        flags = given.get("flags")
        named = set(flags["flags"]) if isinstance(flags, dict) else set()
        env = words(given.get("env"))
        path = given.get("trusted_exepath")
        thread.process = replace(
            thread.process,
            pid=given["pid"],
            ppid=given["ptid"] if given["ptid"] < 2**32 else None,
            name=given["comm"],
            exe=given["exe"],
            exepath=(path or self._exepath(event)).removesuffix(" (deleted)"),
            args=words(given["args"]),
            env=env,
            tty=given.get("tty"),
            vpgid=given.get("vpgid") or thread.process.vpgid,
            loginuid=given.get("loginuid"),
            uid=given["uid"] if given.get("uid") is not None else thread.process.uid,
            gid=given["gid"] if given.get("gid") is not None else thread.process.gid,
            pgid=given.get("pgid"),
            exe_ino=given.get("exe_ino"),
            exe_ino_ctime=given.get("exe_ino_ctime"),
            exe_ino_mtime=given.get("exe_ino_mtime"),
            cap_inheritable=given.get("cap_inheritable"),
            cap_permitted=given.get("cap_permitted"),
            cap_effective=given.get("cap_effective"),
            is_exe_writable="PPM_EXE_WRITABLE" in named,
        )

    def _exepath(self, event: "_Event") -> str:
        given, thread = event.given, event.thread
        entered = self.entered
        if event.kind == "execveat" and entered.get("kind") == "execveat":
            path = entered.get("pathname") or ""
            if path.startswith("/"):
                return path
            folder = thread.fds.get(entered.get("dirfd", -100))
            if path in ("", "<NA>") and folder is not None and entered.get("flags"):
                return folder.name
            base = folder.name if folder is not None else (thread.process.cwd or "/")
            return f"{base.rstrip('/')}/{path}" if path != "<NA>" else "<NA>"
        return given.get("filename") or ""

    def _borrowed(self, event: "_Event") -> None:
        given, thread = event.given, event.thread
        source = thread.fds.get(given["pid_fd"])
        owner = self.threads.get(int(source.name)) if source is not None and source.name.isdigit() else None
        found = (owner or thread).fds.get(given["target_fd"])
        if found is not None:
            thread.fds[given["fd"]] = found
        event.fd = given["fd"]

    def _rows(self, thread: Thread) -> list[Process]:
        rows: list[Process] = []
        indexes: dict[int, int] = {}

        def add(process: Process, seen: frozenset[int]) -> int:
            if process.pid in indexes:
                return indexes[process.pid]
            parent = -1
            above = self.threads.get(process.ppid or 0)
            above = self.threads.get(above.process.pid, above) if above is not None else None
            if above is not None and above.process.pid not in seen and above.process.pid != process.pid:
                parent = add(above.process, seen | {process.pid})
            indexes[process.pid] = len(rows)
            rows.append(replace(process, parent=parent))
            return indexes[process.pid]

        add(thread.process, frozenset())
        return rows

    def _batch(self, event: "_Event") -> EventBatch:
        rows = self._rows(event.thread)
        strings: list[str | None] = [None]

        def text(value: str | None) -> int:
            if value is None:
                return 0
            if value not in strings[1:]:
                strings.append(value)
            return strings.index(value, 1)

        columns = empty_columns()
        for name in EVENT_COLUMNS:
            columns[name].append(0)
        descriptor = event.thread.fds.get(event.fd) if event.fd is not None else None
        values: dict[str, Any] = {
            "time": _BASE_TIME + self.count,
            "process": len(rows) - 1,
            "thread": event.thread.tid,
            "vthread": event.thread.vtid,
            "cpu": 1,
            "type": text(event.kind),
            "fd_num": MISSING_INT if event.fd is None else event.fd,
            "local_port": -1,
            "remote_port": -1,
            "bits": self._bits(event, descriptor),
            "res": event.result or 0,
            "buffer": text(event.given["data"]) if isinstance(event.given.get("data"), str) else 0,
        }
        if descriptor is not None:
            values |= {
                "fd_type": text(descriptor.type),
                "fd_name": text(descriptor.name),
                "fd_ino": descriptor.ino,
                "fd_dev": descriptor.dev,
                "sock_family": text(descriptor.family),
                "l4proto": text(descriptor.l4),
            }
            swapped = self.own_side == "server" and descriptor.remote is not None
            sides = ("remote", "local") if swapped else ("local", "remote")
            for side, address in zip(sides, (descriptor.local, descriptor.remote), strict=True):
                if address is not None:
                    values |= {f"{side}_ip": text(address[0]), f"{side}_port": address[1]}
        name = event.given.get("name") or event.given.get("path")
        if event.kind in _OPENS and isinstance(name, str):
            values |= {"path_name": text(name), "fd_name": text(name)}
        if event.fd_name is not None:
            values["fd_name"] = text(event.fd_name)
        for column, value in values.items():
            columns[column][0] = value if column in _WIDE or value < 2**31 else MISSING_INT
        for argument, value in event.given.items():
            shown, raw = _argument(event, argument, value)
            columns["arg_name"].append(text(argument))
            columns["arg_value"].append(text(shown))
            columns["arg_raw"].append(raw)
        columns["arg_start"].append(len(columns["arg_name"]))
        return EventBatch(
            *("host", HOSTNAME, "boot", _BASE_TIME, 0, _BASE_TIME, "0", "6.1"),
            first_number=self.count,
            count=1,
            strings=strings,
            processes=rows,
            containers=[],
            columns=dict(columns),
        )

    def _bits(self, event: "_Event", descriptor: Descriptor | None) -> int:
        bits = EventBit(0)
        if event.result is not None:
            bits |= EventBit.HAS_RES
            if event.result < 0:
                bits |= EventBit.FAILED
        if event.name_changed:
            bits |= EventBit.NAME_CHANGED
        if descriptor is not None:
            bits |= EventBit.UPPER_LAYER if descriptor.upper else EventBit(0)
            bits |= EventBit.LOWER_LAYER if descriptor.lower else EventBit(0)
            bits |= EventBit.CONNECTED if descriptor.connected else EventBit(0)
            if descriptor.is_server is not None:
                bits |= EventBit.HAS_ROLE
                is_server = descriptor.is_server != (self.own_side == "server" and descriptor.remote is not None)
                bits |= EventBit.IS_SERVER if is_server else EventBit(0)
        return int(bits)


@dataclass
class _Event:
    kind: str
    given: dict[str, Any]
    thread: Thread
    fd: int | None = None
    fd_name: str | None = None
    name_changed: bool = False

    @property
    def result(self) -> int | None:
        spec = EVENTS.get(self.kind)
        first = spec.params[0].name if spec is not None and spec.params else ""
        value = self.given.get("res", self.given.get("fd") if first == "fd" else None)
        return value if isinstance(value, int) else 0 if value is not None else None


_EMPTY = EventBatch("", "", "", 0, 0, 0, "", "", 0, 0, [None], [], [], {})


def _open(event: _Event) -> None:
    given, thread = event.given, event.thread
    number = given.get("fd")
    flags = given.get("flags")
    named = set(flags["flags"]) if isinstance(flags, dict) else set()
    name = given.get("name") or given.get("path") or "<NA>"
    event.fd = number
    if number is not None and number >= 0:
        thread.fds[number] = Descriptor(
            "file",
            name,
            ino=given.get("ino") or 0,
            dev=given.get("dev") or 0,
            upper="PPM_FD_UPPER_LAYER" in named,
            lower="PPM_FD_LOWER_LAYER" in named,
        )


def _socket(event: _Event) -> None:
    given, thread = event.given, event.thread
    event.fd = given.get("fd")
    if event.kind == "socket":
        family = {2: "ipv4", 10: "ipv6", 1: "unix"}.get(given["domain"])
        l4 = {1: "tcp", 2: "udp"}.get(given["type"] & 15)
        if given["fd"] >= 0:
            thread.fds[given["fd"]] = Descriptor(family, family="ip" if family != "unix" else "unix", l4=l4)
        return
    descriptor = thread.fds.setdefault(given["fd"], Descriptor("ipv4")) if given.get("fd") is not None else None
    if descriptor is None:
        return
    ends = ends_of(given.get("tuple"))
    result = given.get("res")
    if isinstance(result, int) and result < 0 and result != -115:
        return
    if event.kind in ("connect", "sendto") and ends is not None:
        client, server = ends
        name = f"{client[0]}:{client[1]}->{server[0]}:{server[1]}"
        event.name_changed = descriptor.name != name
        descriptor.name = name
        descriptor.local, descriptor.remote, descriptor.is_server = client, server, False
        if event.kind == "connect":
            descriptor.connected = not isinstance(result, int) or result >= 0 or result == -115
    elif event.kind == "bind" and isinstance(given.get("addr"), dict):
        address = given["addr"]["sockaddr"]
        descriptor.local, descriptor.is_server = (address["ip"], address["port"]), True
        descriptor.name = f"{address['ip']}:{address['port']}"
    elif event.kind in ("accept", "accept4") and ends is not None:
        client, server = ends
        descriptor.local, descriptor.remote, descriptor.is_server = server, client, True
        descriptor.name = f"{client[0]}:{client[1]}->{server[0]}:{server[1]}"


def _argument(event: _Event, name: str, value: Any) -> tuple[str | None, int]:
    spec = EVENTS.get(event.kind)
    param = next((param for param in spec.params if param.name == name), None) if spec is not None else None
    if isinstance(value, dict) and "flags" in value and param is not None and param.info in FLAG_TABLES:
        numbers = {entry.name: entry.number for entry in FLAG_TABLES[param.info].entries}
        names = [flag.removeprefix("PPM_") for flag in value["flags"]]
        number = sum(numbers.get(flag, 0) for flag in names)
        return number_text(param.info, number) or str(number), number
    if value is None:
        return ("<NA>" if param is not None and param.type in ("CHARBUF", "FSPATH", "FSRELPATH") else None), 0
    if isinstance(value, list):
        return ".".join([*value, ""]), 0
    if isinstance(value, str):
        return value, 0
    if not isinstance(value, int) or param is None:
        return ("", 0)
    return _number(event, name, value, param.type, param.info), value


def _number(event: _Event, _name: str, value: int, kind: str, info: str) -> str:
    if kind == "FD" and value in event.thread.fds:
        descriptor = event.thread.fds[value]
        letter = {"file": "f", "ipv4": "4", "ipv6": "6", "pipe": "p", "memfd": "m"}.get(descriptor.type or "", "o")
        return f"<{letter}>{descriptor.name}"
    if kind == "UID":
        return _FALCO_UID_ENTRY.get(value, str(value))
    if kind.startswith(("FLAGS", "ENUMFLAGS")) and info in FLAG_TABLES:
        return number_text(info, value) or str(value)
    return str(value)


def batch_of(case: dict[str, Any]) -> EventBatch:
    """Process a case's earlier events and return the batch of its own event."""
    text = str(case.get("field") or case.get("filter") or "")
    asks_own_side = any(name in text for name in ("fd.lip", "fd.rip", "fd.lport", "fd.rport"))
    machine = Machine("server" if asks_own_side else "client")
    for event in case.get("prior_events") or ():
        machine.apply(event)
    return machine.apply(case["event"])


COLUMNS = (*EVENT_COLUMNS, *ARGUMENT_COLUMNS)
