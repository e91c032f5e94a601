"""Decodes JSON that whoever creates a container can make large: specifications, answers of runtimes.

Decoding lets no other thread run, and may need thirty times the memory of its input. A large text is therefore decoded
in a process of its own with limited memory, one at a time, which returns only what facts are made of.
"""

import json
import os
import threading

from collector.procfs.look_ups import LookUps
from foundation.errors import LannerError

MAX_BYTES = 16 << 20
"""Limit of a specification or an answer. A program's arguments and environment have at most 6 MiB, and containerd's
messages at most 16 MiB."""
MAX_AT_ONCE = 1 << 20
"""Bytes that are decoded at once; it takes about 10 ms."""
TIMEOUT = 5.0
"""Seconds that decoding may take."""

_one_at_a_time = threading.Lock()


class ResponseTooLarge(LannerError):
    """A runtime's file or answer is larger than the part of it that is read."""


def decoded(text: bytes) -> object:
    """Decode JSON; a large one lacks long texts, and long lists of texts are cut.

    Raises:
        ResponseTooLarge: it has more than MAX_BYTES bytes, or needs too much memory or time.
        ValueError: it is not JSON.
    """
    if len(text) > MAX_BYTES:
        raise ResponseTooLarge(f"more than {MAX_BYTES} bytes")
    if len(text) <= MAX_AT_ONCE:
        try:
            return json.loads(text)
        except RecursionError as error:
            raise ValueError("nested too deeply") from error
    with _one_at_a_time, os.fdopen(os.memfd_create("lanner-json"), "wb", buffering=0) as file:
        file.write(text)
        look_ups = LookUps(timeout=TIMEOUT)
        try:
            found = look_ups.json(f"/proc/{os.getpid()}/fd/{file.fileno()}")
        finally:
            # What it needed for one text is more than it should have until the next.
            look_ups.close()
    if found is None:
        raise ResponseTooLarge(f"{len(text)} bytes can't be decoded within limits")
    return found
