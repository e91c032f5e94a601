"""The kernel as a stream of records: a sleeper is woken, and both rings are merged."""

import contextlib
import ctypes
import errno
import os
import platform
import struct
import subprocess
import threading
import time
import zlib
from base64 import b64encode
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path

import pytest

from collector import kernel_feed
from collector.bpf import build
from collector.bpf.program import RingSizes, load
from collector.kernel import bpf_syscall
from collector.kernel.btf import VMLINUX
from collector.kernel.offsets import features_off, numbers_of
from collector.kernel_feed import ANY, URGENT, WITH_CONTENTS, KernelFeed, ProgramLoading
from collector.records.decode import decode
from collector.records.types import Exec, Exit, Fork, Record, Syscall
from collector.settings import CollectorSettings
from foundation.errors import EnvironmentUnsupported
from tests.live.collector.watching import MOST_SECONDS, watching

_ITSELF = "bpf_trace_printk"
"""A tracepoint in the helper that prints: a program at it that prints would run itself again."""
_MOST_MAPS = 64
_RETURN = struct.pack("<BBhi", 0x95, 0, 0, 0)
NO_CODE = b64encode(zlib.compress(_RETURN)).decode()
"""Returns, but nothing."""


def _map_numbers(program: int) -> set[int]:
    """Return the numbers of the maps that a program uses.

    Source: struct bpf_prog_info in include/uapi/linux/bpf.h.
    """
    numbers, info = ctypes.create_string_buffer(4 * _MOST_MAPS), ctypes.create_string_buffer(64)
    struct.pack_into("<IQ", info, 52, _MOST_MAPS, ctypes.addressof(numbers))
    _get_info(program, info)
    [count] = struct.unpack_from("<I", info, 52)
    return set(struct.unpack_from(f"<{count}I", numbers))


def _number(map_: int) -> int:
    """Return a map's number, from struct bpf_map_info."""
    info = ctypes.create_string_buffer(8)
    _get_info(map_, info)
    number: int = struct.unpack_from("<I", info, 4)[0]
    return number


def _get_info(descriptor: int, info: "ctypes.Array[ctypes.c_char]") -> None:
    bpf_syscall._bpf(bpf_syscall._GET_INFO, struct.pack("<IIQ", descriptor, len(info), ctypes.addressof(info)))


def _of(record: Record) -> tuple[type[Record], int]:
    """Return what a record is and the process that it is about."""
    if isinstance(record, Fork):
        return Fork, record.pid
    who = record.state.who if isinstance(record, Exec) else record.who
    return type(record), who.pid


def test_who_sleeps_is_woken_by_what_is_sent(tmp_path: Path) -> None:
    """A busy reader is never woken, but each sleep ends with the first record, or the first that may raise an alert."""
    # Nothing is compiled yet, then it is.
    for _ in range(2):
        program, loaded, _ = ProgramLoading(tmp_path, RingSizes()).result()
        program.close()
        for descriptor in loaded.values():
            os.close(descriptor)
    feed = KernelFeed.open(("openat",), tmp_path, RingSizes(), loading=ProgramLoading(tmp_path, RingSizes()))
    path = tmp_path / "opened"
    path.touch()
    try:
        for waking in (ANY, URGENT, WITH_CONTENTS, URGENT):
            with subprocess.Popen(["sh", "-c", f"sleep 0.2; cat {path}"]):
                deadline = time.monotonic() + 20
                while not any(bytes(path) in record for record in feed.read()):
                    assert time.monotonic() < deadline
                    assert feed.wait(20, waking=waking)
    finally:
        feed.close()


def test_a_quiet_collector_sleeps_until_something_comes() -> None:
    """It sleeps once nothing has come for a while; a record or a readable descriptor ends the sleep."""
    readable, writable = os.pipe()
    wakes = (lambda: subprocess.run(["true"], check=True), lambda: os.write(writable, b"1"))
    with watching("openat", settings=CollectorSettings(heartbeat_seconds=2 * MOST_SECONDS)) as watch:
        for wake in wakes:
            while not watch.collector.rest(0, readable):
                watch.collector.poll(0.05)
            timer = threading.Timer(0.1, wake)
            timer.start()
            began = time.monotonic()
            watch.collector.rest(MOST_SECONDS, readable)
            assert time.monotonic() - began < MOST_SECONDS / 2
            timer.join()
    os.close(readable)
    os.close(writable)


def test_what_waits_in_both_rings_is_handed_out_whole_and_by_time(tmp_path: Path) -> None:
    """Many starts and ends after many opens, more of each than one read returns: none is missing, none too early."""
    feed = KernelFeed.open(("openat",), tmp_path, RingSizes(), sent_whole=0)
    path = tmp_path / "opened"
    path.touch()
    try:
        before = feed.counters()
        script = f"for i in $(seq 700); do for j in 1 2 3 4 5 6; do read x <{path}; done; (:); done"
        subprocess.run(["sh", "-c", script], check=True)
        times: list[int] = []
        while True:
            times += [struct.unpack_from("<Q", record)[0] for record in feed.read()]
            if not feed.has_more:
                break
        times += [struct.unpack_from("<Q", record)[0] for records in feed.drain() for record in records]
        after = feed.counters()
    finally:
        feed.close()
    made = {name: after[name] - before[name] for name in ("events", "lifecycle")}
    assert made["events"] > 4_200
    assert made["lifecycle"] > 1_400
    assert len(times) >= sum(made.values())
    # Two CPUs may take the time in one order and their ring positions in the other.
    assert max(earlier - later for earlier, later in pairwise(times)) < 1_000_000


def test_a_kernel_without_some_members_is_watched_without_what_reads_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under other names than we know, in the type information: all else works, and passes the self-test."""
    path = tmp_path / "btf"
    data = VMLINUX.read_bytes()
    for name in (b"minor_start", b"loginuid", b"peer", b"skc_v6_daddr", b"uptr"):
        data = data.replace(b"\0%b\0" % name, b"\0%b\0" % name.upper())
    path.write_bytes(data)
    numbers = numbers_of(path)
    monkeypatch.setattr(build, "_numbers", lambda _cache: numbers)
    monkeypatch.setattr(kernel_feed, "features_off", lambda: features_off(path))

    feed = KernelFeed.open(("openat", "connect", "unlink"), tmp_path, RingSizes())
    with contextlib.closing(feed):
        with subprocess.Popen(["true"]) as child:
            child.wait()
        found = [each for each in map(decode, feed.read()) if isinstance(each, Exec)]
        [exec_] = [each for each in found if each.state.who.pid == child.pid]

    assert (exec_.state.tty, exec_.state.loginuid) == (0, -1)
    off = [reason.split()[-1] for reason in feed.off.values()]
    assert off[:4] == ["tty_driver.minor_start", "task_struct.loginuid", "unix_sock.peer", "sock_common.skc_v6_daddr"]
    # Without uptr, paths are copied by programs at functions, which some kernels refuse.
    assert off[4:] in ([], ["functions"])


def test_a_program_that_the_verifier_refuses_is_reported_with_its_reason() -> None:
    """The kernel's code for it is also one for missing rights, which another message is about."""
    with pytest.raises(OSError, match=r"the kernel refused nothing: .*R0 !read_ok") as refused:
        bpf_syscall.load_program("nothing", _RETURN)

    assert refused.value.errno == errno.EACCES


def test_runs_that_the_kernel_skips_are_counted() -> None:
    """It doesn't run a program again on a processor where it has not ended; other tools show the same number."""
    code = (
        (0x85, 0, 0, 14),  # r0 = bpf_get_current_pid_tgid()
        (0x77, 0, 0, 32),  # r0 >>= 32
        (0x55, 0, 6, os.getpid()),  # others print nothing
        (0xB7, 1, 0, ord("x")),
        (0x7B, 0x1A, -8, 0),  # *(u64 *)(r10 - 8) = r1
        (0xBF, 0xA1, 0, 0),  # r1 = r10
        (0x07, 1, 0, -8),
        (0xB7, 2, 0, 2),
        (0x85, 0, 0, 6),  # bpf_trace_printk(r1, r2)
        (0xB7, 0, 0, 0),
    )
    program = bpf_syscall.load_program("prints", b"".join(struct.pack("<BBhi", *each) for each in code) + _RETURN)
    try:
        assert bpf_syscall.recursion_misses(program) == 0
        links = [bpf_syscall.attach_raw_tracepoint(program, name) for name in (_ITSELF, "sys_enter")]
        os.getppid()
        for link in links:
            os.close(link)
        found = bpf_syscall.recursion_misses(program)
        shown = Path(f"/proc/self/fdinfo/{program}").read_text()
    finally:
        os.close(program)

    assert found > 0
    assert f"recursion_misses:\t{found}\n" in shown


def test_skipped_runs_are_losses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of all programs that report events are, and those about processes let the process table be compared."""
    feed = KernelFeed.open(("openat",), tmp_path, RingSizes())
    try:
        assert feed.losses()["recursion_misses"] == feed.counters()["recursion_misses"] == feed.lifecycle_lost() == 0
        monkeypatch.setattr(bpf_syscall, "recursion_misses", lambda _program: 5)
        feed.count_skipped()
        assert feed.losses()["recursion_misses"] >= 4 * 5
        assert feed.lifecycle_lost() == 3 * 5
    finally:
        feed.close()


def test_programs_that_preempt_each_other_build_their_records_in_different_maps(tmp_path: Path) -> None:
    """From Linux 7.0 on, one may run while another is preempted on the same processor."""
    program, loaded = load(build.compiled(tmp_path), RingSizes())
    try:
        scratch = {_number(map_): name for name, map_ in program.maps.items() if name.endswith("_scratch")}
        used: dict[str, set[int]] = {}
        for name, descriptor in (*loaded.items(), ("on_connecting", program._connecting)):
            # The steps of a call run one after another, as if they were one program.
            entry = name if name.startswith("on_") else "on_sys_exit"
            used.setdefault(entry, set()).update(_map_numbers(descriptor) & scratch.keys())
    finally:
        program.close()
        for descriptor in loaded.values():
            os.close(descriptor)

    assert {"on_sys_exit", "on_exec", "on_connecting"} <= {name for name, maps in used.items() if maps}
    shared = [scratch[each] for one, other in combinations(used.values(), 2) for each in one & other]
    assert shared == []


@pytest.mark.parametrize("first_is_skipped", [False, True])
def test_a_second_copy_does_what_the_first_is_skipped_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first_is_skipped: bool
) -> None:
    """Where programs may be preempted, each call, start and end is reported once, whichever copy runs."""
    monkeypatch.setattr(platform, "release", lambda: "7.0.1")
    feed = KernelFeed.open(("openat",), tmp_path, RingSizes(), sent_whole=0)
    path = tmp_path / "opened"
    path.touch()
    try:
        if first_is_skipped:
            for probe in feed._program._probes[:4]:
                os.dup2(feed._program.maps["settings"], probe)
        feed.read()
        with subprocess.Popen(["sh", "-c", f"for i in 1 2 3 4 5 6 7 8 9; do read x <{path}; done"]) as child:
            child.wait()
        records = feed.read()
    finally:
        feed.close()

    found = [_of(each) for each in map(decode, records)]
    kinds = [kind for kind, pid in found if pid == child.pid]
    assert [*dict.fromkeys(kinds)] == [Fork, Exec, Syscall, Exit]
    assert len(kinds) == 3 + kinds.count(Syscall)
    assert sum(bytes(path) in record for record in records) == 9 + 1  # and the shell's arguments


def test_a_kernel_that_is_too_old_is_reported_as_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its verifier only names a function that it doesn't know, which nobody understands."""
    compilation = build.compiled(tmp_path)
    helpless = {"on_exec": compilation.variants["typed"]["on_exec"] | {"code": NO_CODE, "maps": [], "relocations": []}}
    monkeypatch.setattr(platform, "release", lambda: "5.10.0-46-cloud-amd64")

    with pytest.raises(EnvironmentUnsupported, match=r"this kernel \(5\.10\.0-46-cloud-amd64\) is too old") as refused:
        load(replace(compilation, variants={"typed": helpless, "untyped": helpless}), RingSizes())

    assert refused.value.remedy == "use a kernel from 5.15 on"


def test_a_compilation_that_takes_too_long_is_reported_as_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is missing then, so that the remedy is another one."""
    monkeypatch.setattr(build, "_COMPILE_SECONDS", 0.05)
    monkeypatch.setattr(build, "OBJECTS", tmp_path)

    with pytest.raises(EnvironmentUnsupported, match=r"not be compiled within 0\.05 seconds") as slow:
        build.compiled(tmp_path)

    assert "less busy" in slow.value.remedy
    assert "apt-get" not in slow.value.remedy
