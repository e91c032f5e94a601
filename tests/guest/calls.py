"""Makes each system call that is reported once with arguments that none accepts, then some that work.

With --rule, prints the rule by which they are reported, to be read while they are made.
"""

import ctypes
import os
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from collector.kernel.architecture import HERE

_NEW_PROCESSES = frozenset({"fork", "vfork"})
"""Calls without arguments, which would succeed."""
CALLS = sorted(set(HERE.NATIVE.values()) - _NEW_PROCESSES)
_RULE = """
- rule: Called
  desc: One call of each type.
  condition: evt.type in ({calls}) and (proc.args contains tests.guest.calls or proc.name = busybox32)
  output: "%proc.name %evt.type %evt.res %evt.arg.flags %fd.name %fs.path.name %fs.path.source %fs.path.target"
  warn_evttypes: false
  priority: NOTICE
"""


def main(arguments: Sequence[str]) -> None:
    """Make the calls."""
    if arguments == ["--rule"]:
        sys.stdout.write(_RULE.format(calls=", ".join(CALLS)))
        return
    call, none = ctypes.CDLL(None).syscall, [ctypes.c_long(-1)] * 6
    for number, event in HERE.NATIVE.items():
        if event not in _NEW_PROCESSES:
            call(ctypes.c_long(number), *none)
    made = Path("/tmp/made")
    made.mkdir()
    os.close(os.open(made, os.O_RDONLY | os.O_DIRECTORY))
    os.close(os.open("/tmp", os.O_RDWR | os.O_TMPFILE))
    made.rename("/tmp/renamed").rmdir()
    with socket.create_server(("127.0.0.1", 8470)), suppress(OSError), socket.create_connection(("127.0.0.1", 8470)):
        pass


if __name__ == "__main__":
    main(sys.argv[1:])
