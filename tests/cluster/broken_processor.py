"""`lanner`, with one function of the rule language broken: a condition that asks for a command line raises."""

import sys
from typing import NoReturn

from lanner.__main__ import main
from processor.compiler import batch


def broken(*_: object) -> NoReturn:
    """Raise, as a fault of ours would."""
    raise RuntimeError("broken for a test")


if __name__ == "__main__":
    batch.FUNCTIONS = {**batch.FUNCTIONS, "command_line": broken}  # type: ignore[attr-defined]
    sys.exit(main())
