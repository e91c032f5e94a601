"""Fuzz targets, one after another, until one fails.

Usage: python -m tests.fuzz TARGET[,TARGET…] [libFuzzer options and corpus folders, in which {} is the target]
"""

import os
import sys

import atheris

# Once for all targets: it takes longer than what most runs fuzz.
with atheris.instrument_imports(include=["processor", "lanner.captures", "lanner.ruletest", "schemas.catalog"]):
    from tests.fuzz.properties import TARGETS


def main() -> None:
    """Run libFuzzer with each target that the first argument names; it ends its process, so each has its own."""
    targets = sys.argv[1].split(",") if len(sys.argv) > 1 else []
    if not targets or not TARGETS.keys() >= set(targets):
        sys.exit(f"usage: python -m tests.fuzz {'|'.join(TARGETS)}[,...] [options] [corpus ...]")
    for target in targets:
        pid = os.fork()
        if pid == 0:
            atheris.Setup([sys.argv[0], *(each.replace("{}", target) for each in sys.argv[2:])], TARGETS[target])
            atheris.Fuzz()
        if os.waitpid(pid, 0)[1]:
            sys.exit(f"{target} failed.")


main()
