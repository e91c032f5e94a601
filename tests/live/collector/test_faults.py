"""Faults are counted, and no event names a wrong process."""

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

from collector.bpf.program import RingSizes
from collector.kernel.btf import VMLINUX, Btf
from collector.kernel.offsets import TRACEPOINTS, uring_layout
from collector.settings import CollectorSettings
from tests.live.collector.watching import Watching, watching
from tests.live.compiled import Programs

OPENS = """
import os, sys
for _ in range(int(sys.argv[2])): os.close(os.open(sys.argv[1], os.O_RDONLY))
"""
SMALL = CollectorSettings(rings=RingSizes(events=1 << 16, lifecycle=1 << 16), sent_whole=0)


def test_made_is_sent_plus_lost_with_enough_room(tmp_path: Path) -> None:
    """A workload that counts itself: every open is there once."""
    marker = tmp_path / "marker"
    marker.write_text("")
    with watching("open", "openat") as watch:
        watch.run(sys.executable, "-I", "-c", OPENS, str(marker), "5000")

        assert sum(event["evt.count"] for event in watch.events(fd__name=str(marker))) == 5000
        assert watch.collector.losses == {}


def test_calls_that_were_counted_just_before_a_stop_are_delivered(tmp_path: Path) -> None:
    """Counts that were read wait until earlier records have been read; a stop must not forget them."""
    marker = tmp_path / "marker"
    marker.write_text("")
    with watching("open", "openat") as watch:
        subprocess.run([sys.executable, "-I", "-c", OPENS, str(marker), "5000"], check=True)
        watch.collector.poll(0)

    assert sum(event["evt.count"] for event in watch.events(fd__name=str(marker))) == 5000


def test_made_is_sent_plus_lost_with_a_ring_made_too_small(tmp_path: Path) -> None:
    """Events that found no space in the ring are counted exactly, and reported in the batches."""
    marker = tmp_path / "marker"
    marker.write_text("")
    with watching("open", "openat", settings=SMALL) as watch:
        child = subprocess.Popen([sys.executable, "-I", "-c", OPENS, str(marker), "30000"])
        child.wait()
        watch.settle()
    counters = watch.collector.counters()
    sent = sum(batch.count for batch in watch.batches)
    reasons = ("events_ring_full", "events_over_share")
    lost = sum(batch.lost.get(reason, 0) for batch in watch.batches for reason in reasons)

    assert lost > 0
    assert counters["events"] == sent + lost


def test_a_lifecycle_ring_too_small_names_no_wrong_process() -> None:
    """Thousands of execs are lost; facts about a process are right or missing."""
    code = "for n in $(seq 400); do /bin/cat /etc/hostname; /usr/bin/head -1 /etc/hostname; done"
    with watching("open", "openat", settings=SMALL) as watch:
        child = subprocess.Popen(["/bin/sh", "-c", code], stdout=subprocess.DEVNULL)
        while child.poll() is None:
            # Polled too rarely on purpose.
            watch.collector.poll(0)
            time.sleep(0.4)
        watch.settle()
        events = watch.events(fd__name="/etc/hostname")
        losses = watch.collector.losses

    assert losses.get("lifecycle_ring_full", 0) + losses.get("lifecycle_over_share", 0) > 0
    names = {event["proc.name"] for event in events}
    assert names <= {"cat", "head", None}
    for event in events:
        if event["proc.name"] is not None:
            assert event["proc.exepath"].endswith(event["proc.name"])


def test_fifty_thousand_short_processes_leave_no_growth(tmp_path: Path) -> None:
    """The table holds living processes and recently ended ones, but never all."""
    program = Programs(tmp_path)("short_lives", static=True)
    with watching("openat") as watch:
        before = len(watch.collector._table)
        watch.run(program, "50000")
        watch.run("/bin/sleep", "0.1")
        after = len(watch.collector._table)

    assert after - before < 20_000
    assert "lifecycle_ring_full" not in watch.collector.losses


def test_a_thread_that_flips_the_path_does_not_hide_the_file(tmp_path: Path) -> None:
    """The buffer may contain anything by the time it is read; the kernel's path shows what was opened."""
    (tmp_path / "good").write_text("")
    (tmp_path / "evil").write_text("")
    code = """
import ctypes, os, sys, threading, json
libc = ctypes.CDLL(None)
good, evil = sys.argv[1].encode(), sys.argv[2].encode()
buffer = ctypes.create_string_buffer(good, 4096)
stop = False
def flip():
    while not stop:
        ctypes.memmove(buffer, evil, len(evil)); ctypes.memmove(buffer, good, len(good))
thread = threading.Thread(target=flip); thread.start()
opened = {"good": 0, "evil": 0}
for _ in range(3000):
    fd = libc.open(buffer, 0)
    if fd >= 0:
        opened[os.path.basename(os.readlink(f"/proc/self/fd/{fd}"))] += 1
        os.close(fd)
stop = True; thread.join()
print(json.dumps(opened))
"""
    with watching("open", "openat") as watch:
        truth = watch.python(code, str(tmp_path / "good"), str(tmp_path / "evil"))
        for name in ("good", "evil"):
            real = str(tmp_path / name)
            opened = [event for event in watch.events(fd__realpath=real) if event["fd.num"] is not None]
            assert sum(event["evt.count"] for event in opened) == truth[name]


def test_a_process_gone_before_it_could_be_read_is_known_by_its_records() -> None:
    """No fact depends on /proc being read in time."""
    with watching("openat") as watch:
        subprocess.run(["/bin/sh", "-c", "(cat /etc/hostname; true)"], check=True, stdout=subprocess.DEVNULL)
        watch.settle()
        event = watch.events(fd__name="/etc/hostname", proc__name="cat")[-1]

    assert event["proc.pname"] == "sh"
    assert event["proc.cmdline"] == "cat /etc/hostname"


def test_our_own_acts_are_never_events() -> None:
    """A collector that watched itself would feed itself."""
    with watching("open", "openat") as watch:
        Path("/etc/hostname").read_text()
        watch.settle()

        assert not watch.events(proc__pid=os.getpid())


def test_nothing_stays_loaded_after_the_end() -> None:
    """No program outlives its collector."""
    with watching("openat") as watch:
        assert isinstance(watch, Watching)
        ours = programs_of_this_process()
        has_uring = not uring_layout(Btf(VMLINUX.read_bytes())).lacking
        assert len(ours) == 6 + (len(TRACEPOINTS) if has_uring else 0)
        assert all(is_loaded(number) for number in ours)

    deadline = time.monotonic() + 5
    while any(is_loaded(number) for number in ours) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(is_loaded(number) for number in ours)


def programs_of_this_process() -> set[str]:
    """Return the ids of the BPF programs that this process holds, attached or not."""
    found = set()
    for path in Path("/proc/self/fdinfo").iterdir():
        with contextlib.suppress(OSError):
            rows = path.read_text().splitlines()
            found |= {row.split()[1] for row in rows if row.startswith("prog_id:")}
    return found


def is_loaded(number: str) -> bool:
    """Return whether a program is loaded, according to bpftool."""
    done = subprocess.run(["bpftool", "prog", "show", "id", number], capture_output=True, text=True, check=False)
    return done.returncode == 0
