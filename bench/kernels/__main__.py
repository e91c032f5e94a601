"""Check Lanner under Debian's kernels, and write docs/kernels.md.

    sudo python -m bench.kernels [--seconds S] [--no-demo] [WORD]...

With words, only kernels that have all of them are checked: an architecture (amd64, arm64), a suite and a flavor (cloud,
generic, rt). The results of others stay as they are.
"""

import argparse
import json
import sys
import tempfile
from datetime import UTC, datetime
from itertools import groupby
from operator import attrgetter
from pathlib import Path

from bench.kernels.machine import KERNELS, Kernel, Packages, boot, make_disk
from bench.kernels.page import PAGE, RESULTS, Checked, page, read_results, write_results
from tests.guest.machine import NoGuest


def main() -> None:
    """Check them, storing the results after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60, help="how long each is loaded")
    parser.add_argument("--no-demo", action="store_true")
    parser.add_argument("words", nargs="*")
    arguments = parser.parse_args()
    chosen = [each for each in KERNELS if {*arguments.words} <= {*_words(each)}]
    checked = {(each.suite, each.kernel): each for each in read_results()} if RESULTS.exists() else {}
    try:
        for architecture, kernels in groupby(chosen, attrgetter("architecture")):
            with tempfile.TemporaryDirectory(prefix="lanner-kernels-", dir="/var/tmp") as place:
                (folder := Path(place, "packages")).mkdir()
                packages, image = Packages(folder, architecture), make_disk(Path(place), architecture)
                for kernel in kernels:
                    one = _check(kernel, packages, image, f"{arguments.seconds}{'' if arguments.no_demo else ' demo'}")
                    if one is not None:
                        checked[one.suite, one.kernel] = one
                        _store(checked)
    except NoGuest as error:
        sys.exit(f"lanner: {error}")


def _words(kernel: Kernel) -> tuple[str, str, str]:
    return kernel.architecture, kernel.suite, kernel.flavor or "generic"


def _check(kernel: Kernel, packages: Packages, image: Path, arguments: str) -> Checked | None:
    sys.stderr.write(f"{' '.join(_words(kernel))}\n")
    try:
        files = packages.fetch(kernel)
    except NoGuest as error:
        sys.stderr.write(f"  {error}\n")
        return None
    printed, console = boot(kernel.architecture, files, image, arguments)
    for file in files:
        file.unlink()
    date = f"{datetime.now(UTC):%Y-%m-%d}"
    try:
        found = json.loads(printed)
    except ValueError:
        one = Checked(kernel.release(files), kernel.suite, date, {}, (printed + console)[-500:])
    else:
        one = Checked(found["release"], kernel.suite, date, found)
    sys.stderr.write(f"  {one.kernel}: {one.result}\n")
    return one


def _store(checked: dict[tuple[str, str], Checked]) -> None:
    suites = [kernel.suite for kernel in KERNELS]
    rows = sorted(checked.values(), key=lambda each: (each.is_arm, suites.index(each.suite), each.kernel))
    write_results(rows)
    PAGE.write_text(page(rows))


if __name__ == "__main__":
    main()
