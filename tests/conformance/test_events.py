"""Fields of raw events where Falco's values surprise, beside the cases that are not part of this repository."""

from typing import Any

import pytest

from processor.compiler.batch import compile_rules
from processor.fields.extract import extract
from processor.language.parser import parse
from schemas.catalog.fields import EVENTS
from tests.conformance.falco_events import batch_of

Given = dict[str, Any]


def event(kind: str, /, by: int = 1, direction: str = "<", **params: Any) -> Given:
    """Return an event of a thread, in the cases' notation."""
    return {"evt.type": kind, "tid": by, "direction": direction, "params": params}


def opened(fd: int = 3, name: str = "/tmp/file", flags: int = 0) -> Given:
    """Return an open."""
    return event("open", fd=fd, name=name, flags=flags, mode=0, dev=5, ino=123)


def cloned(tid: int, *, by: int, result: int) -> Given:
    """Return one of the two events of a clone."""
    own = {"tid": tid, "pid": tid, "ptid": 1, "vtid": 2, "vpid": 2, "uid": 0, "gid": 0, "flags": 0}
    rest = {"exe": "sh", "args": None, "cwd": "", "comm": "sh", "cgroups": None, "pidns_init_start_ts": 0}
    sizes = dict.fromkeys(("fdlimit", "pgft_maj", "pgft_min", "vm_size", "vm_rss", "vm_swap"), 0)
    return event("clone", by, res=result, **own, **rest, **sizes)


def executed(path: str | None, **params: Any) -> Given:
    """Return an execve with a trusted path, None if Falco has none."""
    missing = dict.fromkeys(param.name for param in EVENTS["execve"].params)
    own = {"res": 0, "exe": "/bin/x", "tid": 1, "pid": 1, "ptid": 0, "comm": "x", "cwd": "", "trusted_exepath": path}
    texts = {"args": {"null_delimited": ["-c", "xyz"]}, "env": {"null_delimited": ["A=1"]}}
    return event("execve", **missing | own | texts | params)


SOCKET = event("socket", fd=4, domain=2, type=1, proto=0)
TOO_LONG = "/" + "x/" * 600
LARGE = 0x1_0000_0010


@pytest.mark.parametrize(
    ("events", "values"),
    [
        ([SOCKET], {"fd.name": "", "fd.type": "ipv4", "fd.l4proto": "<NA>", "fd.connected": False, "fd.sip": None}),
        ([event("signalfd4", res=-1, flags=512, fd=9, mask=0)], {"evt.rawarg.flags": "200", "evt.rawarg.fd": 9}),
        (
            [event("timerfd_create", res=0, clockid=-1, flags=255)],
            {"evt.rawarg.flags": "FF", "evt.rawarg.clockid": 255},
        ),
        ([event("epoll_create", res=0, size=-22)], {"evt.rawarg.size": -22}),
        ([event("getcwd", res=0, path="")], {"evt.arg.path": ""}),
        ([event("getcwd", res=0, path=None)], {"evt.arg.path": "<NA>", "evt.rawarg.path": "<NA>"}),
        ([event("read", res=0, data=None, fd=0, size=0)], {"evt.arg.data": "NULL", "fd.name": "/dev/null"}),
        ([opened(flags=0x80003 | 1 << 6)], {"fs.path.name": "/tmp/file", "fd.dev": 5, "evt.arg.fd": "<f>/tmp/file"}),
        ([opened(-2)], {"fs.path.name": "/tmp/file", "evt.count.error": 1, "evt.count.error.file": 1}),
        ([opened()], {"fd.l4proto": "<NA>", "fd.sip": None}),
        ([opened(-1)], {"fd.l4proto": None, "fs.path.name": None, "fd.filename": None, "evt.res": "EPERM"}),
        ([opened()], {"evt.count.error": 0, "evt.count.error.file": 0, "evt.count.error.net": None}),
        ([opened(), event("fchmod", res=0, fd=3, mode=0)], {"fs.path.name": "/tmp/file"}),
        ([opened(), event("fchmod", res=-1, fd=3, mode=0)], {"fs.path.name": None}),
        ([opened(name=TOO_LONG)], {"fd.name": "/DIR_TOO_LONG/FILENAME_TOO_LONG", "fd.directory": "/DIR_TOO_LONG"}),
        ([opened(name="a\udcff")], {"fd.name": "/root/a\udcff", "fd.filename": "a\udcff"}),
        (
            [event("rename", res=0, oldpath="/p\udcff", newpath="q\udcff")],
            {"fs.path.source": "/p\udcff", "fs.path.target": "/root/q\udcff", "fs.path.targetraw": "q\udcff"},
        ),
        ([event("read", res=0, data=None, fd=0, size=0)], {"evt.category": "file"}),
        ([event("read", res=0, data=None, fd=9, size=0)], {"evt.category": "unknown"}),
        ([SOCKET, event("close", res=0, fd=4)], {"evt.category": "net"}),
        ([event("pipe", res=0, fd1=5, fd2=6, ino=1), event("close", res=0, fd=5)], {"evt.category": "ipc"}),
        ([event("pipe", res=0, fd1=5, fd2=6, ino=1)], {"evt.category": "IPC", "fd.type": "pipe"}),
        ([opened()], {"evt.category": "file"}),
        ([opened()], {"evt.abspath": None, "evt.abspath.src": None}),
        (
            [event("openat", fd=-2, dirfd=-100, name="a", flags=0, mode=0, dev=0, ino=0)],
            {"evt.abspath": "/root/a", "evt.abspath.dst": "/root/a"},
        ),
        (
            [event("renameat", res=0, olddirfd=-100, oldpath="a", newdirfd=-100, newpath="/b")],
            {"evt.abspath": "/root/a", "evt.abspath.src": "/root/a", "evt.abspath.dst": "/b"},
        ),
        (
            [event("symlinkat", res=0, target="/a", linkdirfd=-100, linkpath="b")],
            {"evt.abspath": "/root/b", "evt.abspath.dst": "/root/b"},
        ),
        ([event("unlinkat", res=0, dirfd=-100, name="a", flags=0)], {"evt.abspath": "/root/a"}),
        ([event("unlink", res=0, path="/a")], {"evt.abspath": None, "fs.path.name": "/a"}),
        ([executed("/bin/x (deleted)")], {"proc.exepath": "/bin/x", "proc.args[1]": "xyz", "proc.args[8]": ""}),
        ([executed("/bin/x")], {"proc.aenv": "A=1", "proc.aenv[0]": "A=1", "proc.cmdlenargs": 5}),
        ([executed(None)], {"proc.exepath": "/sbin/init"}),
        (
            [event("execveat", direction=">", dirfd=-100, pathname="a", flags=0), executed(None)],
            {"proc.exepath": "/root/a"},
        ),
        (
            [opened(name="/tmp/d"), event("execveat", direction=">", dirfd=3, pathname="a", flags=0), executed(None)],
            {"proc.exepath": "/tmp/d/a"},
        ),
        (
            [event("execveat", direction=">", dirfd=3, pathname="<NA>", flags=0), executed(None)],
            {"proc.exepath": "<NA>"},
        ),
        (
            [cloned(1, by=1, result=LARGE), cloned(LARGE, by=LARGE, result=0)],
            {"proc.pid": None, "proc.apid": None, "thread.tid": None, "proc.ppid": 1, "proc.apid[1]": 1},
        ),
        (
            [event("procinfo", direction=">", cpu_usr=0, cpu_sys=0)],
            {"evt.count.procinfo": 1, "evt.count.threadinfo": 1},
        ),
    ],
)
def test_a_field_has_falcos_value(events: list[Given], values: Given) -> None:
    """The last event's fields follow from it and the events before."""
    batch = batch_of({"event": events[-1], "prior_events": events[:-1]})

    assert {name: extract(batch, 0, name) for name in values} == values


@pytest.mark.parametrize(
    ("events", "condition"),
    [
        ([event("read", res=4, data={"bytes": "gigi"}, fd=0, size=4)], "evt.arg.data = gigi and len(evt.arg.data) = 4"),
        ([event("read", res=4, data={"bytes_hex": "00670069"}, fd=0, size=4)], 'evt.buffer = "\\x00g\\x00i"'),
        ([opened(name="/p\udcff")], r'fd.name regex "/p." and fs.path.name contains "\xff" and fd.name glob "/p?"'),
        ([event("getcwd", res=0, path=None)], "evt.arg.path = <NA> and evt.rawarg.path exists"),
        ([executed(None, pgid=0)], 'proc.args[8] = "" and proc.args[8] exists and evt.rawarg.pgid = 0'),
        ([event("signalfd4", res=-1, flags=512, fd=9, mask=0)], "evt.rawarg.flags < 515 and evt.rawarg.flags > 511"),
        ([SOCKET], 'fd.name = "" and not fd.l4proto in (tcp, udp) and not fd.sport exists'),
        ([SOCKET], 'not (fd.ip exists or fd.ip != "1.2.3.4" or fd.net != "10.0.0.0/8" or fd.port < 22)'),
        ([event("epoll_create", res=-22, size=0)], "evt.arg.res = val(evt.arg.res) and evt.rawres < -21"),
    ],
)
def test_a_condition_is_true(events: list[Given], condition: str) -> None:
    """Conditions see numbers and bytes where outputs show text."""
    batch = batch_of({"event": events[-1], "prior_events": events[:-1]})
    matcher = compile_rules([parse(condition)]).matchers[events[-1]["evt.type"]]

    def fail(_: int, problem: BaseException) -> None:
        raise problem

    assert [rule for rule, _ in matcher.bind(batch, fail)(0)] == [0]
