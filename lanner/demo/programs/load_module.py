"""Request an empty file to be loaded as a kernel module, which the kernel refuses."""

import ctypes
import os
import sys
from pathlib import Path

SYSTEM_CALL = {"x86_64": 313, "aarch64": 273}
"""finit_module."""


def main() -> None:
    """Try to load the file that the argument names."""
    number = SYSTEM_CALL.get(os.uname().machine)
    if number is not None:
        with Path(sys.argv[1]).open("rb") as module:
            ctypes.CDLL(None).syscall(number, module.fileno(), b"", 0)


if __name__ == "__main__":
    main()
