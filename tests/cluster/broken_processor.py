"""Run `lanner` with a bug: conditions that use the command line raise."""

import sys
from typing import NoReturn

from lanner.__main__ import main
from processor.fields import binding


def broken(*_: object) -> NoReturn:
    """Raise, as a bug would."""
    raise RuntimeError("broken for a test")


if __name__ == "__main__":
    binding.FUNCTIONS = {**binding.FUNCTIONS, "command_line": broken}
    sys.exit(main())
