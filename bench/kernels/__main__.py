"""Check Lanner under Debian's kernels, and write docs/kernels.md.

    sudo python -m bench.kernels [--seconds S] [--no-demo] [WORD]...

With words, only kernels whose suite or package contain one of them are checked; the others' results stay as they are.
"""

import argparse
import json
import platform
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from bench.kernels.machine import KERNELS, Kernel, Packages, boot, disk
from bench.kernels.page import PAGE, RESULTS, Checked, Results, page, read_results, write_results
from tests.guest.machine import NoGuest


def main() -> None:
    """Check them, storing the results after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--no-demo", action="store_true")
    parser.add_argument("words", nargs="*")
    arguments = parser.parse_args()
    chosen = [each for each in KERNELS if not arguments.words or any(map(_text(each).__contains__, arguments.words))]
    checked = {(each.suite, each.kernel): each for each in read_results().kernels} if RESULTS.exists() else {}
    try:
        with tempfile.TemporaryDirectory(prefix="lanner-kernels-") as folder, disk() as image:
            packages = Packages(Path(folder))
            for kernel in chosen:
                sys.stderr.write(f"{_text(kernel)}\n")
                one = _check(kernel, packages, image, f"{arguments.seconds:.0f}{'' if arguments.no_demo else ' demo'}")
                sys.stderr.write(f"  {one.kernel}: {one.result}\n")
                checked[one.suite, one.kernel] = one
                _store(checked, arguments.seconds)
    except NoGuest as error:
        sys.exit(f"lanner: {error}")


def _text(kernel: Kernel) -> str:
    return f"{kernel.suite} {kernel.package}"


def _check(kernel: Kernel, packages: Packages, image: Path, arguments: str) -> Checked:
    files = packages.fetch(kernel)
    printed, console = boot(files, image, arguments)
    for file in files:
        file.unlink()
    try:
        found = json.loads(printed.splitlines()[0])
    except (ValueError, IndexError):
        return Checked(kernel.release(files), kernel.suite, {}, (printed + console)[-500:])
    return Checked(found["release"], kernel.suite, found)


def _store(checked: dict[tuple[str, str], Checked], seconds: float) -> None:
    order = {kernel.suite: number for number, kernel in enumerate(KERNELS)}
    rows = sorted(checked.values(), key=lambda each: (order[each.suite], each.kernel))
    results = Results(f"{datetime.now(UTC):%Y-%m-%d}", platform.machine(), seconds, rows)
    write_results(results)
    PAGE.write_text(page(results))


if __name__ == "__main__":
    main()
