"""No event that a rule matches is ever left out, and most of the others are.

Calls are made up as the kernel reports them; the rules evaluate what the collector makes of them, the kernel's side
is evaluated by its tables.
"""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.events.system_calls import CALLS
from collector.pushdown import lay_out
from collector.records.types import File, Syscall
from processor.detection.detector import Detector
from processor.detection.view import BatchView
from processor.language.parser import parse
from processor.pushdown.derive import derive
from processor.rule import RulesetOptions
from schemas.filter import PushdownFilter
from tests.unit.collector.calls import WHO, call, file, sock
from tests.unit.collector.events.test_build import ORIGIN, PROCESS, batch_of
from tests.unit.collector.kernel_filter import passes as kernel_passes
from tests.unit.processor.plain_rules import DetectionRule

EVENTS = (
    *("open", "openat", "openat2", "creat", "open_by_handle_at", "dup2", "socket", "accept4", "sendto", "connect"),
    *("ptrace", "prctl", "setns", "unshare", "clone", "mount", "kill", "pipe2"),
)


def filter_of(*rules: str, events: Sequence[str] = EVENTS) -> PushdownFilter:
    """Derive the pushdown filter of rules that are conditions only."""
    return derive([parse(rule) for rule in rules], events)


def passes(pushdown_filter: PushdownFilter, made: Syscall) -> bool:
    """Evaluate a call as the kernel does."""
    return kernel_passes(lay_out(pushdown_filter), made)


def found(detector: Detector, made: Syscall) -> bool:
    """Evaluate a call by the rules, through all that the collector makes of it."""
    process = replace(PROCESS, uid=made.who.uid)
    batch = batch_of(made, origin=replace(ORIGIN, process=process))
    return bool(detector.process(BatchView(replace(batch, processes=[process]))))


def opened(event: str, path: str, flags: int = 0, *, real: str | None = None, result: int = 3) -> Syscall:
    """Make an open by an absolute path."""
    arguments = [0] * 6
    arguments[{"open": 1, "openat": 2}.get(event, 5)] = flags
    facts: dict[str, object] = {"result": result, "path1": path}
    if result >= 0:
        facts |= {"fd": result, "file": file(real or path)}
    return call(event, arguments, **facts)


PARTS = ("etc", "shadow", "passwd", "usr", "bin", "a", ".ssh", "id_rsa", "log")
paths = st.lists(st.sampled_from(PARTS), min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))
long_paths = st.builds(lambda path, n: path + "/x" * n + "/shadow", paths, st.sampled_from([30, 57, 60, 110]))
some_path = st.one_of(paths, paths, long_paths)
very_long_paths = long_paths.map(lambda path: "/etc" + "/y" * 200 + path)
requested_path = st.one_of(
    some_path,
    very_long_paths,
    some_path.map(lambda path: path.replace("/", "//", 1)),
    some_path.map(lambda path: path + "/../x"),
    some_path.map(lambda path: path[1:]),
    some_path.map(lambda path: path.rsplit("/", 1)[1]),
    st.sampled_from(["/", ".", "etc/", "/etc/shadow/", "./shadow", "etc/./shadow", ".ssh/id_rsa"]),
)


@st.composite
def opens(draw: st.DrawFn) -> Syscall:
    """Make an open of any kind, as it may come."""
    event = draw(st.sampled_from(["open", "openat", "openat", "openat2", "creat", "open_by_handle_at"]))
    arguments = [0] * 6
    flags = draw(st.sampled_from([0, 1, 2, 3, 0o100, 0o1001, 0o102, 0o20200002, 0o2000000, 0o1101, 0o200000]))
    arguments[1 if event == "open" else 2] = flags
    arguments[3] = draw(st.sampled_from([0, 0o644, 0o755]))
    result = draw(st.sampled_from([3, 0, 7, -2, -13]))
    opened_file: File | None = None
    if result >= 0:
        mode = draw(st.sampled_from([0o100644, 0o40755, 0o20666]))
        opened_file = file(
            draw(st.one_of(st.none(), some_path, very_long_paths)),
            mode,
            is_created=bool(flags & 0o100) and draw(st.booleans()),
        )
    how = b"".join(number.to_bytes(8, "little") for number in (flags, 0o755, 0)) if event == "openat2" else b""
    return call(
        event,
        arguments,
        result=result,
        fd=result if result >= 0 else None,
        file=opened_file,
        path1=None if event == "open_by_handle_at" else draw(requested_path),
        directory1=draw(st.sampled_from(["/", "/etc", "/usr/bin", "/etc" + "/x" * 200, None])),
        blob1=how,
        who=draw(whos),
        is_compat=draw(st.booleans()),
    )


whos = st.builds(lambda uid: WHO.__class__(1000, 10, 11, 5, 1, uid, 1), st.sampled_from([0, 1000, 4294967294]))
addresses = st.sampled_from(["10.1.2.3", "127.0.0.1", "192.168.0.1", "8.8.8.8", "0.0.0.0"])
sockets = st.one_of(
    st.builds(
        lambda family, local, remote, lport, rport, kind, state: sock(
            family,
            local_ip=local,
            remote_ip=remote,
            local_port=lport,
            remote_port=rport,
            type=kind[0],
            protocol=kind[1],
            state=state,
        ),
        st.sampled_from([2, 10]),
        addresses,
        addresses,
        st.sampled_from([0, 22, 80]),
        st.sampled_from([0, 22, 80, 40000]),
        st.sampled_from([(1, 6), (2, 17), (3, 6), (3, 1)]),
        st.sampled_from([1, 7, 10]),
    ),
    st.just(sock(10, local_ip="::1", remote_ip="fe80::1", local_port=80, remote_port=443)),
    st.just(sock(1, unix_path="/run/x", protocol=0)),
    st.just(sock(16, protocol=0)),
)


@st.composite
def others(draw: st.DrawFn) -> Syscall:
    """Make a call that opens no file."""
    event = draw(st.sampled_from([event for event in EVENTS if not event.startswith(("open", "creat"))]))
    number = st.sampled_from(
        [
            0,
            1,
            2,
            4,
            5,
            13,
            15,
            16,
            17,
            38,
            0x10,
            0x4206,
            0x10000000,
            0x20000,
            0x7C020000,
            (1 << 32) | 16,
            0xFFFFFFFF,
            0xC0ED0001,
        ]
    )
    result = draw(st.sampled_from([0, 1, 2, 3, 1 << 33, (1 << 32) + 1, -1, -13, -115, -5000]))
    facts: dict[str, object] = {"result": result, "who": draw(whos)}
    gives = event in ("dup2", "socket", "accept4")
    if event in ("dup2", "socket", "accept4", "sendto", "connect", "setns") and (result >= 0 or not gives):
        facts["fd"] = result & 0xFF if gives else 5
        if draw(st.integers(0, 3)):
            facts["socket"] = draw(sockets)
        elif draw(st.booleans()):
            facts["file"] = file("/etc/passwd")
    if event in ("prctl", "mount"):
        facts["path1"] = "x"
    return call(event, [draw(number) for _ in range(6)], **facts)


def quoted(values: list[str]) -> str:
    """Write a list as rules do."""
    return "(" + ", ".join(values) + ")"


texts = st.one_of(some_path, st.sampled_from(PARTS), paths.map(lambda path: path[1:] or "x"))
name_checks = st.one_of(
    st.builds(lambda op, v: f"fd.name {op} {v}", st.sampled_from(["=", "!=", "startswith", "endswith"]), some_path),
    st.builds(lambda op, v: f"fd.name {op} {v}", st.sampled_from(["contains", "endswith", "icontains"]), texts),
    st.builds(lambda vs: f"fd.name in {quoted(vs)}", st.lists(some_path, min_size=1, max_size=3)),
    st.builds(lambda vs: f"fd.name pmatch {quoted(vs)}", st.lists(some_path, min_size=1, max_size=3)),
    st.builds(lambda v: f'fd.name glob "{v}*"', some_path),
    st.builds(
        lambda op, word, vs: f"fd.name {op} {word} {quoted(vs)}",
        st.sampled_from(["=", "startswith", "endswith", "contains"]),
        st.sampled_from(["anyof", "oneof", "allof"]),
        st.lists(texts, max_size=3),
    ),
    st.builds(lambda v: f'fd.name glob "/e?c/{v}"', st.sampled_from(PARTS)),
    st.builds(lambda op, v: f"fd.directory {op} {v}", st.sampled_from(["=", "!=", "startswith"]), paths),
    st.builds(lambda vs: f"fd.filename in {quoted(vs)}", st.lists(st.sampled_from(PARTS), min_size=1, max_size=3)),
    st.builds(lambda v: f"fd.nameraw contains {v}", st.sampled_from(["../", "//", "etc"])),
    st.builds(lambda v: f'fd.nameraw startswith "{v}"', some_path),
)
class_checks = st.sampled_from(
    [
        *(
            "evt.is_open_read = true",
            "evt.is_open_write = true",
            "evt.is_open_write = false",
            "evt.is_open_read != true",
        ),
        *("evt.is_open_exec = true", "evt.is_open_create = true", "evt.failed = true", "evt.failed = false"),
        *(
            "fd.num >= 0",
            "fd.num = 1",
            "evt.rawres >= 0",
            "evt.rawres in (0, 1, 2)",
            "evt.rawres = 1",
            "evt.rawres < 0",
        ),
        *(
            "evt.res = EACCES",
            "evt.res in (EACCES, EPERM)",
            "evt.res = SUCCESS",
            "evt.res startswith E",
            "evt.res != SUCCESS",
        ),
        *(
            "evt.type = open",
            "evt.type in (open, openat, dup2)",
            "proc.name = bash",
            "proc.name != bash",
            "fd.name exists",
            "ancestor(user.uid = 0)",
        ),
        *("user.uid = 0", "user.uid != 0", "user.uid in (0, 1000)", "evt.arg.flags contains O_TRUNC"),
        *("evt.res startswith anyof (EA, EP)", "evt.arg.flags contains allof (O_TRUNC, O_CREAT)"),
    ]
)
other_checks = st.sampled_from(
    [
        *(
            "fd.type in (ipv4, ipv6)",
            "fd.type = unix",
            "fd.typechar in (4, 6)",
            "fd.typechar = f",
            "fd.sockfamily = ip",
        ),
        *("fd.l4proto = tcp", "fd.l4proto != tcp", "fd.l4proto in (udp, icmp)", "fd.type exists"),
        *("fd.sport = 22", "fd.sport in (22, 80)", "fd.cport = 40000", "fd.lport = 22", "fd.rport in (80, 443)"),
        *(
            "fd.sip = 127.0.0.1",
            "fd.cip in (10.1.2.3, 8.8.8.8)",
            "fd.snet in (10.0.0.0/8, 127.0.0.0/8)",
            "fd.net = 127.0.0.0/8",
        ),
        *("fd.cnet = 192.168.0.0/16", "fd.rip = 10.1.2.3", "fd.lnet = 10.0.0.0/8", "fd.lip != 10.1.2.3"),
        *("evt.arg.request contains PTRACE_ATTACH", "evt.arg.request in (PTRACE_TRACEME, PTRACE_SEIZE)"),
        *("evt.arg.domain contains AF_PACKET", "evt.arg.domain = AF_INET", "evt.arg.option = PR_SET_NAME"),
        *(
            "evt.arg.flags contains CLONE_NEWUSER",
            "evt.arg.flags contains CLONE_NEW",
            "evt.arg.nstype contains CLONE_NEWNET",
        ),
        "evt.arg.flags contains anyof (CLONE_NEWUSER, MS_BIND)",
        *("evt.arg.flags contains MS_BIND", "evt.arg.flags = MS_RDONLY", "evt.arg.flags contains O_CLOEXEC"),
        *("evt.arg[1] contains PTRACE", "container.id = host", "container.id != host", "evt.arg.request exists"),
    ]
)
conditions = st.recursive(
    st.one_of(name_checks, class_checks, other_checks),
    lambda inner: st.one_of(
        inner.map(lambda text: f"not ({text})"),
        st.builds(
            lambda word, parts: "(" + f" {word} ".join(parts) + ")",
            st.sampled_from(["and", "or"]),
            st.lists(inner, min_size=2, max_size=4),
        ),
    ),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(st.lists(conditions, min_size=1, max_size=4), st.lists(st.one_of(opens(), others()), min_size=1, max_size=12))
def test_a_call_that_a_rule_matches_always_passes(rules: list[str], calls: list[Syscall]) -> None:
    """The property that everything rests on."""
    layout = lay_out(filter_of(*rules, events=sorted({CALLS[made.event].event for made in calls})))
    detector = Detector([DetectionRule(rule, parse(rule), "x") for rule in rules], RulesetOptions(rule_matching="all"))

    for made in calls:
        if not kernel_passes(layout, made):
            assert not found(detector, made)


def test_a_rule_on_one_file_lets_only_that_file_through() -> None:
    """And only for reading."""
    pushdown_filter = filter_of("evt.type in (open, openat) and evt.is_open_read = true and fd.name = /etc/shadow")

    assert passes(pushdown_filter, opened("openat", "/etc/shadow"))
    assert passes(pushdown_filter, opened("openat", "/tmp/link", real="/etc/shadow"))
    assert not passes(pushdown_filter, opened("openat", "/etc/passwd"))
    assert not passes(pushdown_filter, opened("openat", "/etc/shadow2"))
    assert not passes(pushdown_filter, opened("openat", "/etc/shadow", 1))


def test_a_negation_lets_everything_through() -> None:
    """What isn't in a set is everywhere."""
    assert passes(filter_of("evt.type = open and not fd.name startswith /usr"), opened("open", "/usr/bin/x"))


def test_a_rule_that_requires_no_path_needs_its_class_only() -> None:
    """A write anywhere passes, a read nowhere."""
    pushdown_filter = filter_of("evt.type = openat and evt.is_open_write = true and proc.name = cat")

    assert passes(pushdown_filter, opened("openat", "/a/b", 1))
    assert not passes(pushdown_filter, opened("openat", "/a/b"))


def test_a_thousand_rules_share_bits_and_stay_sound() -> None:
    """More ways than bits only widen what passes."""
    pushdown_filter = filter_of(*(f"evt.type = openat and fd.name = /data/{n}" for n in range(1000)))
    layout = lay_out(pushdown_filter)

    assert all(kernel_passes(layout, opened("openat", f"/data/{n}")) for n in range(1000))
    assert not kernel_passes(layout, opened("openat", "/data/x"))


def test_a_rule_on_several_beginnings_or_ends_lets_only_these_through() -> None:
    """A comparison with `anyof` of many values is as narrow as one with a single value."""
    ends = ", ".join(f"/.ssh/key{n}" for n in range(100))
    pushdown_filter = filter_of(
        f"evt.type = openat and (fd.name endswith anyof ({ends}) or fd.name startswith anyof (/boot/, /srv/))"
    )

    assert all(passes(pushdown_filter, opened("openat", path)) for path in ("/root/.ssh/key99", "/boot/x", "/srv/x"))
    assert not passes(pushdown_filter, opened("openat", "/root/.ssh/key"))


def test_a_rule_on_unclean_paths_sees_them_and_no_others() -> None:
    """A traversal is sent, a plain open isn't."""
    pushdown_filter = filter_of("evt.type = openat and fd.nameraw contains ../")

    assert passes(pushdown_filter, opened("openat", "/a/../etc/shadow", real="/etc/shadow"))
    assert not passes(pushdown_filter, opened("openat", "/etc/shadow"))


def test_a_rule_on_the_beginning_of_the_path_as_given_drops_other_paths() -> None:
    """An absolute beginning only: a relative argument is compared before it is resolved."""
    pushdown_filter = filter_of("evt.type = openat and fd.nameraw startswith /proc/1/root/")

    assert passes(pushdown_filter, opened("openat", "/proc/1/root/etc/shadow", real="/etc/shadow"))
    assert not passes(pushdown_filter, opened("openat", "/etc/shadow"))
    assert passes(filter_of("evt.type = openat and fd.nameraw startswith etc"), opened("openat", "/etc/shadow"))


def test_a_relative_name_is_evaluated_from_where_it_starts() -> None:
    """By the directory that the kernel started from, also where the open failed."""
    pushdown_filter = filter_of("evt.type = openat and fd.name = /etc/shadow")
    shadow = replace(opened("openat", "shadow", real="/etc/shadow", result=-13), directory1="/etc")

    assert passes(pushdown_filter, shadow)
    assert not passes(pushdown_filter, replace(shadow, directory1="/home"))
    assert not passes(pushdown_filter, replace(opened("openat", "passwd", real="/etc/passwd"), directory1="/etc"))
    assert passes(pushdown_filter, replace(opened("openat", "link", real="/etc/shadow"), directory1="/tmp"))


def test_openat2_is_evaluated_without_its_flags() -> None:
    """They are in memory that another thread may change."""
    pushdown_filter = filter_of("evt.type = openat2 and evt.is_open_write = true and fd.name = /etc/shadow")

    assert passes(pushdown_filter, opened("openat2", "/etc/shadow"))


@pytest.mark.parametrize(
    ("rule", "expected", "left_out"),
    [
        (
            "evt.type = dup2 and evt.rawres in (0, 1, 2) and fd.type in (ipv4, ipv6)",
            call("dup2", result=1, fd=1, socket=sock()),
            [
                call("dup2", result=5, fd=5, socket=sock()),
                call("dup2", result=1, fd=1, file=file()),
                call("dup2", result=1, fd=1, socket=sock(1)),
            ],
        ),
        (
            "evt.type = ptrace and evt.arg.request contains PTRACE_ATTACH",
            call("ptrace", [16]),
            [call("ptrace", [0]), call("ptrace", [7])],
        ),
        (
            "evt.type = socket and evt.arg.domain contains AF_PACKET",
            call("socket", [17], result=3, fd=3, socket=sock(17)),
            [call("socket", [1], result=3, fd=3, socket=sock(1))],
        ),
        (
            "evt.type = unshare and evt.arg.flags contains CLONE_NEWUSER",
            call("unshare", [0x10020000]),
            [call("unshare", [0x20000])],
        ),
        (
            "evt.type = accept4 and fd.sport = 22 and not fd.cnet in (10.0.0.0/8, 192.168.0.0/16)",
            call(
                "accept4",
                result=3,
                fd=3,
                socket=sock(local_ip="8.8.8.8", remote_ip="1.1.1.1", local_port=22, remote_port=9),
            ),
            [
                call("accept4", result=3, fd=3, socket=sock(local_port=80, remote_port=9)),
                call("accept4", result=3, fd=3, socket=sock(remote_ip="10.1.1.1", local_port=22, remote_port=9)),
            ],
        ),
        (
            "evt.type = accept4 and fd.sport in (ssh, 65616)",
            call("accept4", result=3, fd=3, socket=sock(local_port=80, remote_port=9)),
            [call("accept4", result=3, fd=3, socket=sock(local_port=81, remote_port=9))],
        ),
        (
            "evt.type = kill and user.uid = 0 and evt.failed = false",
            call("kill"),
            [call("kill", result=-1), call("kill", who=WHO.__class__(1000, 10, 11, 5, 1, 1000, 1))],
        ),
    ],
)
def test_what_no_path_decides_is_left_out_too(rule: str, expected: Syscall, left_out: list[Syscall]) -> None:
    """By results, arguments, users and sockets."""
    pushdown_filter = filter_of(rule)

    assert passes(pushdown_filter, expected)
    assert not any(passes(pushdown_filter, made) for made in left_out)
