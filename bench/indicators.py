"""Measure lists of indicators: time to read, memory, and the time of a look-up, by kind and size.

    python -m bench.indicators

Each list is in a process of its own. Times are processor time of one core; memory is the resident set that the list
adds. A look-up is of a value that is in no list, as nearly all are; each is looked up once, a thousand in a round, of
which the fastest counts.
"""

import gc
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import get_args

from processor.indicators.lists import IndicatorList, IndicatorSpec
from processor.indicators.tables import Kind

SIZES = (10_000, 100_000, 1_000_000)
_VALUES = 100_000
_ROUND = 1_000


def _address(number: int) -> str:
    return ".".join(map(str, hashlib.sha256(b"%d" % number).digest()[:4]))


def _name(number: int) -> str:
    digest = hashlib.sha256(b"%d" % number).hexdigest()
    return f"{digest[:10]}.{digest[10:14]}.example"


def _digest(number: int) -> str:
    return hashlib.sha256(b"%d" % number).hexdigest()


_MAKERS: dict[Kind, Callable[[int], str]] = {"address": _address, "name": _name, "digest": _digest}


def main() -> None:
    """Print a row for each kind and size."""
    print("| kind | entries | read, s | memory, MiB | look-up, µs |\n|---|---|---|---|---|")
    for name in _MAKERS:
        for size in SIZES:
            command = [sys.executable, "-m", "bench.indicators", name, str(size)]
            print(subprocess.run(command, check=True, capture_output=True, text=True).stdout, end="", flush=True)


def _measured(kind: Kind, size: int) -> str:
    make = _MAKERS[kind]
    others = [make(size + number) for number in range(_VALUES)]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "list.txt"
        with file.open("w") as lines:
            lines.writelines(f"{make(number)}\n" for number in range(size))
        gc.collect()
        before, begin = _resident(), time.process_time()
        made = IndicatorList(IndicatorSpec("x", "list.txt", kind, "text"), file)
        made.load()
        read = time.process_time() - begin
    gc.collect()
    memory = _resident() - before
    holds, took = made.holds, []
    for start in range(0, _VALUES, _ROUND):
        begin = time.process_time()
        for value in others[start : start + _ROUND]:
            holds(value)
        took.append(time.process_time() - begin)
    return f"| {kind} | {size:,} | {read:.2f} | {memory:.0f} | {min(took) / _ROUND * 1e6:.2f} |"


def _resident() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(_measured(next(each for each in get_args(Kind) if each == sys.argv[1]), int(sys.argv[2])))
    else:
        main()
