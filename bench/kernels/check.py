"""Runs in a guest: checks Lanner under its kernel, and prints what it found as one line of JSON.

    python -m bench.kernels.check SECONDS [demo]

SECONDS is how long it is loaded; with the word, the demo runs as well.
"""

import ctypes
import errno
import json
import mmap
import os
import platform
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.kernels.load import LANNER, load
from collector.bpf import program
from collector.bpf.build import compiled
from collector.bpf.program import TYPED, RingSizes
from collector.events.io_uring import PendingRequests
from collector.events.system_calls import CALLS
from collector.kernel import bpf_syscall
from collector.kernel.architecture import HERE
from collector.kernel.offsets import URING_FEATURE
from collector.kernel_feed import KernelFeed
from collector.records.decode import decode
from collector.records.types import Record, Request, Syscall
from foundation.errors import EnvironmentUnsupported

CACHE = Path("/var/cache/lanner")
_PATIENCE = 60
"""Seconds: emulated, an alert takes longer than anywhere else."""
_NOT_MADE = frozenset({"exit", "exit_group", "fork", "vfork", "clone", "clone3", "pause", "rt_sigreturn", "sigreturn"})
"""They don't return, return twice or wait; the self-test and the demo start processes."""
_CALL_SECONDS, _DEMO_SECONDS = 60, 3000
_CHANGES, _CWD = 5000, -100
_URING_PROGRAM = "/opt/io_uring_acts"
_URING_ACTS = {
    "openat /etc/hostname /etc/hostname": "open /etc/hostname",
    "openat /etc/passwd /etc/passwd": "open-direct /etc/passwd",
    "mkdirat /tmp/made": "mkdir /tmp/made",
    "renameat /tmp/made /tmp/renamed": "rename /tmp/made /tmp/renamed",
    "connect 9": "fast-open 9",
}
"""By what is found of it, what the program does."""


def check(seconds: int, *, has_demo: bool) -> dict[str, Any]:
    """Return what each step found, up to the first without which the others can't be made."""
    found: dict[str, Any] = {"release": platform.release(), "machine": platform.machine(), "steps": {}}
    steps: dict[str, str] = found["steps"]
    began = time.monotonic()
    try:
        compilation = compiled(CACHE)
        began = time.monotonic()
        with _verified() as verified:
            loaded, programs = program.load(compilation, RingSizes())
        found |= {"load_ms": _since(began), "verified": sum(verified.values()), "programs": verified}
        found["is_typed"] = verified.get("tell_call") == _followed_typed(compilation, loaded)
        for descriptor in programs.values():
            os.close(descriptor)
        loaded.close()
        began = time.monotonic()
        feed = KernelFeed.open(_types(), CACHE, RingSizes(), sent_whole=0)
    except EnvironmentUnsupported as error:
        return found | {"refused": error.reason, "remedy": error.remedy, "refused_ms": _since(began)}
    found["attach_ms"] = _since(began)
    _step(steps, "attach and self-test", lambda: "")
    try:
        copies = feed._program.path_copies  # noqa: SLF001
        found["copies"] = "putname" if copies._putname is not None else "kmem_cache_free"  # noqa: SLF001
        found["off"] = dict(feed.off)
        _step(steps, "every event type", lambda: _every_type(feed))
        _step(steps, "copies of paths", lambda: _copies(feed))
        _step(steps, "paths that change", lambda: _changing(feed))
        _step(steps, "io_uring", lambda: _uring(feed))
    finally:
        feed.close()
    found["seconds"] = seconds
    _step(steps, "load", lambda: load(seconds, lambda made: found.update(load=made)))
    if has_demo:
        _step(steps, "demo", _demo)
    _step(steps, "the kernel's log", _kernel_log)
    return found


def _step(steps: dict[str, str], name: str, act: Callable[[], str]) -> None:
    """Note what was wrong; nothing if all was right."""
    try:
        steps[name] = act()
    except Exception as error:  # noqa: BLE001 (whatever it is, the other steps are made)
        steps[name] = f"{type(error).__name__}: {error}"
    sys.stderr.write(f"{name}: {steps[name] or 'passed'}\n")


@contextmanager
def _verified() -> Iterator[dict[str, int]]:
    """Count the instructions that the verifier follows in each program that is loaded."""
    found: dict[str, int] = {}
    load = bpf_syscall.load_program

    def counted(name: str, *arguments: Any, **options: Any) -> int:
        descriptor = load(name, *arguments, **options)
        rows = Path(f"/proc/self/fdinfo/{descriptor}").read_text().splitlines()
        found[name] = next((int(row.split()[1]) for row in rows if row.startswith("verified_insns")), 0)
        return descriptor

    bpf_syscall.load_program = counted
    try:
        yield found
    finally:
        bpf_syscall.load_program = load


def _followed_typed(compilation: program.Compilation, loaded: program.LoadedProgram) -> int | None:
    """Return how many the typed variant of one program takes; None if it is refused."""
    one = {TYPED: {"tell_call": compilation.variants[TYPED]["tell_call"]}}
    alone = program.Compilation(compilation.maps, one, compilation.numbers)
    try:
        with _verified() as verified:
            for descriptor in program._load_variant(alone, TYPED, loaded.maps).values():  # noqa: SLF001
                os.close(descriptor)
    except OSError:
        return None
    return verified["tell_call"]


def _types() -> list[str]:
    return sorted({call.event for call in CALLS})


def _every_type(feed: KernelFeed) -> str:
    """Make each call once, with arguments that the kernel refuses, and find its event."""
    numbers = {event: number for number, event in HERE.NATIVE.items() if event in set(_types()) - _NOT_MADE}
    child = os.fork()
    if child == 0:
        libc, refused = ctypes.CDLL(None), [ctypes.c_long(-1)] * 6
        for number in numbers.values():
            libc.syscall(ctypes.c_long(number), *refused)
        os._exit(0)
    os.waitpid(child, 0)
    seen: set[str] = set()
    for call in _records(feed, until=lambda: not numbers.keys() - seen):
        if isinstance(call, Syscall) and call.who.pid == child:
            seen.add(CALLS[call.event].event)
    missing = sorted(numbers.keys() - seen)
    return f"{len(missing)} of {len(numbers)} missing: {' '.join(missing)}" if missing else ""


def _copies(feed: KernelFeed) -> str:
    """Pass paths that don't exist, and find the kernel's copies of all of them."""
    seen = feed._program.path_copies._seen()  # noqa: SLF001
    known = set(HERE.NATIVE.values())
    expected = {(event, at) for event, places in program._CALLS.items() if event in known for at in places}  # noqa: SLF001
    missing = sorted(f"{event} {at}" for event, at in expected - seen)
    return f"missing: {', '.join(missing)}" if missing else ""


def _changing(feed: KernelFeed) -> str:
    """Pass a path in memory that another process changes all the time, and find it as the kernel has seen it."""
    number = next(number for number, event in HERE.NATIVE.items() if event == "fchmodat")
    names = [f"{CACHE}/changing-{last}" for last in "abz"]
    Path(names[0]).touch()
    memory = mmap.mmap(-1, mmap.PAGESIZE)
    memory.write(names[0].encode())
    changing = os.fork()
    while not changing:
        for name in names[:2]:
            memory[len(name) - 1] = ord(name[-1])
    calling = os.fork()
    if not calling:
        path, libc, results = ctypes.c_char.from_buffer(memory), ctypes.CDLL(None), Counter[int]()
        arguments = [*map(ctypes.c_long, (number, _CWD)), ctypes.byref(path), ctypes.c_long(0o644)]
        while min(results[0], results[-1]) < _CHANGES:
            results[libc.syscall(*arguments)] += 1
        arguments[2] = names[2].encode()
        libc.syscall(*arguments)
        os._exit(0)
    os.waitpid(calling, 0)
    os.kill(changing, signal.SIGKILL)
    os.waitpid(changing, 0)
    found: Counter[tuple[str | None, int]] = Counter()
    expected = {(names[0], 0), *((name, -errno.ENOENT) for name in names[1:])}
    for each in _records(feed, until=lambda: (names[2], -errno.ENOENT) in found):
        if isinstance(each, Syscall) and each.who.pid == calling and CALLS[each.event].event == "fchmodat":
            found[each.path1, each.result] += 1
    return "" if found.keys() == expected else f"found: {dict(found)}"


def _uring(feed: KernelFeed) -> str:
    """Make some requests, and find each operation with its arguments and its file."""
    if URING_FEATURE in feed.off or not Path(_URING_PROGRAM).exists():
        return ""
    pending = PendingRequests()
    for act in _URING_ACTS.values():
        subprocess.run([_URING_PROGRAM, "plain", *act.split()], check=True, stdout=subprocess.DEVNULL)
    seen: set[str] = set()
    for record in _records(feed, until=lambda: not _URING_ACTS.keys() - seen):
        for call in pending.take(record) if isinstance(record, Request) else ():
            port = call.socket and int.from_bytes(call.blob2[2:4])
            facts = (CALLS[call.event].event, call.path1, call.path2, call.file and call.file.path, port)
            seen.add(" ".join(str(fact) for fact in facts if fact))
    missing = sorted(_URING_ACTS.keys() - seen)
    return f"missing: {'; '.join(missing)}; instead: {'; '.join(sorted(seen))}" if missing else ""


def _records(feed: KernelFeed, *, until: Callable[[], bool]) -> Iterator[Record]:
    """Return the records that come until all is found or the time is up."""
    deadline = time.monotonic() + _CALL_SECONDS
    while time.monotonic() < deadline and not until():
        for record in feed.read():
            yield decode(record)
        time.sleep(0.05)


def _demo() -> str:
    command = [*LANNER, "--format", "json", "demo", "--patience", str(_PATIENCE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_DEMO_SECONDS)
    try:
        made = json.loads(done.stdout)
    except ValueError:
        return (done.stderr.strip().splitlines() or ["no output"])[-1]
    missed = [each["rule"] for each in made if not each["skipped"] and each["seen"] != each["expected"]]
    return f"not detected: {', '.join(missed)}" if missed else ""


def _kernel_log() -> str:
    text = subprocess.run(["dmesg"], capture_output=True, text=True, errors="replace", check=True).stdout
    bad = re.findall(r"(?m)^.*(?:BUG:|Oops|WARNING:|Call Trace|rcu.*stall|blocked for more).*$", text)
    return "; ".join(bad[:3])


def _since(began: float) -> int:
    return round(1000 * (time.monotonic() - began))


if __name__ == "__main__":
    sys.stdout.write(json.dumps(check(int(sys.argv[1]), has_demo="demo" in sys.argv)) + "\n")
