"""Run `lanner` with a bug: the transformer `basename` raises."""

import sys
from typing import NoReturn

from lanner.__main__ import main
from processor.compiler import transformers


def broken(*_: object) -> NoReturn:
    """Raise, as a bug would."""
    raise RuntimeError("broken for a test")


if __name__ == "__main__":
    transformers.FUNCTIONS = {**transformers.FUNCTIONS, "basename": broken}
    sys.exit(main())
