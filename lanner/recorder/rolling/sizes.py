"""Parses the size of a rolling recording."""

from lanner.errors import BadInput

_MEGABYTE = 1_000_000
_UNITS = {"KB": 1000, "MB": _MEGABYTE, "GB": 1000 * _MEGABYTE, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30}


def size_mib(text: str) -> int:
    """Parse a size such as 256MB or 1GiB, in MiB, at least 1; 0 stands for no recording. Raises BadInput."""
    if text == "0":
        return 0
    number = text.rstrip("KMGIBkmgib")
    unit = _UNITS.get(text[len(number) :].upper())
    if unit is None or not (number.isascii() and number.isdigit() and 0 < int(number) < 1 << 40):
        raise BadInput(f"--keep {text}: must be a size such as 256MB or 2GiB, or 0 to record nothing.")
    return max(int(number) * unit >> 20, 1)
