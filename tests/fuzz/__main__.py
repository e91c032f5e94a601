"""Fuzz one target until it fails: python -m tests.fuzz TARGET [libFuzzer options and corpus folders]."""

import sys

import atheris

with atheris.instrument_imports(include=["processor", "lanner.captures", "lanner.ruletest", "schemas.catalog"]):
    from tests.fuzz.properties import TARGETS


def main() -> None:
    """Run libFuzzer with the target that the first argument names."""
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"usage: python -m tests.fuzz {'|'.join(TARGETS)} [options] [corpus ...]")
    atheris.Setup([sys.argv[0], *sys.argv[2:]], TARGETS[sys.argv[1]])
    atheris.Fuzz()


main()
