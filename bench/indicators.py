"""Measure lists of indicators: time to read, memory, and the time of a look-up, by kind and size.

    python -m bench.indicators [SIZE …]

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
from collections.abc import Callable, Sequence
from pathlib import Path

from processor.indicators.lists import IndicatorList, IndicatorSpec
from processor.indicators.tables import Kind

SIZES = (10_000, 100_000, 1_000_000)
_VALUES = 100_000
_ROUND = 1_000


def _address(number: int) -> str:
    return ".".join(map(str, hashlib.sha256(b"%d" % number).digest()[:4]))


def _network(number: int) -> str:
    digest = hashlib.sha256(b"%d" % number).digest()
    open_bits = digest[4] % 9
    first = int.from_bytes(digest[:4]) >> open_bits << open_bits
    return f"{'.'.join(map(str, first.to_bytes(4)))}/{32 - open_bits}"


def _address_6(number: int) -> str:
    digest = hashlib.sha256(b"%d" % number).hexdigest()
    return f"2001:{digest[:4]}:{digest[4:8]}:{digest[8:12]}::{digest[12:16]}"


def _name(number: int) -> str:
    """Return a name of two to four labels; every third is below one of ten names that many others are below."""
    digest = hashlib.sha256(b"%d" % number).hexdigest()
    above = (f"site-{digest[:10]}.com", f"www.site-{digest[:10]}.net", f"{digest[10:14]}.host-{number % 10}.example")
    return f"{digest[14:24]}.{above[2]}" if number % 3 == 2 else above[number % 3]


def _digest(number: int) -> str:
    return hashlib.sha256(b"%d" % number).hexdigest()


_MAKERS: dict[str, tuple[Kind, Callable[[int], str], Callable[[int], str]]] = {
    "addresses": ("address", _address, _address),
    "networks of /24 to /32": ("address", _network, _address),
    "addresses of version 6": ("address", _address_6, _address_6),
    "names of 2 to 4 labels": ("name", _name, _name),
    "SHA-256": ("digest", _digest, _digest),
}
"""For each row: the kind, what makes an entry, and what makes a value that is looked up."""


def main(sizes: Sequence[int]) -> None:
    """Print a row for each kind of entries and size."""
    print("| entries | number | read, s | memory, MiB | look-up, µs |\n|---|---|---|---|---|")
    for name in _MAKERS:
        for size in sizes:
            command = [sys.executable, "-m", "bench.indicators", name, str(size)]
            print(subprocess.run(command, check=True, capture_output=True, text=True).stdout, end="", flush=True)


def _measured(name: str, size: int) -> str:
    kind, make, value_of = _MAKERS[name]
    others = [value_of(size + number) for number in range(_VALUES)]
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
    return f"| {name} | {size:,} | {read:.2f} | {memory:.0f} | {min(took) / _ROUND * 1e6:.2f} |"


def _resident() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] in _MAKERS:
        print(_measured(sys.argv[1], int(sys.argv[2])))
    else:
        main(tuple(map(int, sys.argv[1:])) or SIZES)
