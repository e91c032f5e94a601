"""Decoders of single parameters, generated from the event table."""

import struct
from collections.abc import Callable
from functools import cache
from itertools import groupby
from typing import Any

from lanner.captures.table import EVENTS, SIGNED, SIZES

Decode = Callable[[bytes, int, int], tuple[Any, ...] | None]
"""Takes a window, where the sizes of an event's parameters begin, and where the event ends. Returns parameters:
numbers, or bytes for types without a fixed size; None if the event has others than the event table states."""
_CODES = {1: "b", 2: "h", 4: "i", 8: "q"}


@cache
def decoder(number: int, wanted: tuple[str, ...]) -> Decode:
    """Return the decoder of some parameters of an event.

    Args:
        number: the event's number.
        wanted: the names of the parameters, in the order of the event table.
    """
    version = EVENTS[number]
    code, width = ("I", 4) if version.is_large else ("H", 2)
    sizes = [SIZES.get(param.type) for param in version.params]
    least = width * len(sizes) + sum(size or 0 for size in sizes)
    wrong = [f"s{index} != {size}" for index, size in enumerate(sizes) if size is not None]
    total = " + ".join([str(least), *(f"s{index}" for index, size in enumerate(sizes) if size is None)])
    constants: dict[str, Any] = {"sizes": struct.Struct(f"<{len(sizes)}{code}").unpack_from}
    lines = [
        "def decode(data, at, end):",
        f"    if end - at < {least}: return None",
        f"    {''.join(f's{index}, ' for index in range(len(sizes)))} = sizes(data, at)",
        f"    if {' or '.join([*wrong, f'{total} > end - at'])}: return None",
        f"    at += {width * len(sizes)}",
    ]
    for is_fixed, group in groupby(enumerate(version.params), lambda pair: sizes[pair[0]] is not None):
        run = list(group)
        if is_fixed:
            # Consecutive numbers are unpacked at once; those that nobody wants are padding.
            codes = "".join(_code(param.type, is_wanted=param.name in wanted) for _, param in run)
            values = "".join(f"v{index}, " for index, param in run if param.name in wanted)
            layout = struct.Struct(f"<{codes}")
            constants[f"run{run[0][0]}"] = layout.unpack_from
            lines += [f"    {values} = run{run[0][0]}(data, at)"] if values else []
            lines += [f"    at += {layout.size}"]
            continue
        for index, param in run:
            lines += [f"    v{index} = data[at:at + s{index}]"] if param.name in wanted else []
            lines += [f"    at += s{index}"]
    lines.append(f"    return ({''.join(f'v{version.indices[name]}, ' for name in wanted)})")
    exec(compile("\n".join(lines), f"<{version.name}>", "exec"), constants)  # noqa: S102  made from the event table
    return constants["decode"]  # type: ignore[no-any-return]


def _code(kind: str, *, is_wanted: bool) -> str:
    size = SIZES[kind]
    if not is_wanted:
        return f"{size}x"
    return _CODES[size] if kind in SIGNED else _CODES[size].upper()
