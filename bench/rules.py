"""Measure the cost of evaluating an event: rules over synthetic batches of ordinary events, best of several runs.

    python -m bench.rules RULES.yaml...        each rule file alone, then all of them together

It prints the number of rules, the time to compile them and the microseconds per event. The batches have 500
events of ten processes' ordinary work; almost none of them matches.
"""

import random
import sys
import time
from collections.abc import Sequence

from processor.detection.detector import Detector
from processor.detection.view import BatchView
from processor.loading import load_rules, read_rule_files
from processor.rule import RulesetOptions
from schemas.batch import EVENT_COLUMNS, MISSING_INT, Container, EventBatch, EventBit, Process, empty_columns

EVENTS = 500
RUNS = 40
_TYPES = {"openat": 30, "close": 20, "read": 15, "write": 10, "connect": 3, "execve": 3, "clone": 3, "unlinkat": 1}
_NAMES = ("bash", "cat", "python3", "sshd", "nginx", "containerd", "dockerd", "make", "gcc", "git")
_FILES = (
    *(f"/usr/lib/x86_64-linux-gnu/lib{number}.so" for number in range(80)),
    *("/etc/ld.so.cache", "/etc/passwd", "/proc/self/stat", "/dev/null", "/srv/a", "/var/log/syslog"),
)


def ordinary_batch(seed: int) -> EventBatch:
    """Return a batch of ordinary events; the same seed returns the same batch."""
    draw = random.Random(seed)
    strings: list[str | None] = [None]
    indexes: dict[str, int] = {}

    def text(value: str) -> int:
        if value not in indexes:
            indexes[value] = len(strings)
            strings.append(value)
        return indexes[value]

    columns = empty_columns()
    processes = [_process(number, draw) for number in range(60)]
    for number, kind in enumerate(draw.choices(list(_TYPES), list(_TYPES.values()), k=EVENTS)):
        row = {"type": text(kind), "process": draw.randrange(len(processes)), "time": 10**18 + number, "fd_num": 3}
        row |= {"vthread": MISSING_INT, "local_port": -1, "remote_port": -1, "bits": int(EventBit.HAS_RES)}
        if kind in ("openat", "close", "read", "write"):
            name = text(draw.choice(_FILES))
            row |= {"fd_name": name, "fd_realpath": name if kind == "openat" else 0, "fd_type": text("file")}
        if kind == "openat":
            row["bits"] |= int(EventBit.OPEN_READ if draw.random() < 0.9 else EventBit.OPEN_WRITE)
        for name_of_column in EVENT_COLUMNS:
            columns[name_of_column].append(row.get(name_of_column, 0))
        columns["arg_start"].append(0)
    containers = [Container("3d09256ebd53", "3d09256ebd53" * 5, "docker", name="web", image="nginx:1")]
    return EventBatch(
        *("host", "host", "boot", 0, seed, 0, "0", "6.18"),
        first_number=1,
        count=EVENTS,
        strings=strings,
        processes=processes,
        containers=containers,
        columns=dict(columns),
    )


def _process(number: int, draw: random.Random) -> Process:
    name = draw.choice(_NAMES)
    return Process(
        pid=100 + number,
        name=name,
        exe=f"/usr/bin/{name}",
        exepath=f"/usr/bin/{name}",
        args=("-x", str(number)),
        cwd="/root",
        tty=0,
        uid=0,
        user="root",
        loginuid=-1,
        is_exe_upper_layer=False,
        is_exe_from_memfd=False,
        is_exe_writable=False,
        parent=number // 2 if number else -1,
        container=-1 if number % 3 else 0,
    )


def measure(paths: Sequence[str]) -> str:
    """Measure one set of rule files; return the result as one line."""
    result = load_rules(read_rule_files(paths))
    rules = [rule for rule in result.rules if rule.source == "syscall"]
    started = time.perf_counter()
    detector = Detector(rules, RulesetOptions(rule_matching="all"))
    compiled = time.perf_counter() - started
    batches = [ordinary_batch(seed) for seed in range(4)]
    best = min(_run(detector, batches) for _ in range(RUNS)) / (EVENTS * len(batches))
    faults = sum(detector.faults.values())
    return (
        f"{len(rules):5} rules  compiled in {compiled * 1000:6.1f} ms  {best * 1e6:6.3f} us an event  {faults} faults"
    )


def _run(detector: Detector, batches: Sequence[EventBatch]) -> float:
    started = time.perf_counter()
    for batch in batches:
        detector.process(BatchView(batch))
    return time.perf_counter() - started


def main(paths: Sequence[str]) -> None:
    """Measure each file, then all together."""
    for group in [*([path] for path in paths), *([list(paths)] if len(paths) > 1 else [])]:
        print(f"{measure(group)}  {' '.join(path.rpartition('/')[2] for path in group)}")


if __name__ == "__main__":
    main(sys.argv[1:])
