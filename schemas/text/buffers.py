"""Bytes as Falco prints them."""

_PRINTED = dict.fromkeys(range(256), ".") | {code: chr(code) for code in range(0x20, 0x7F)}


def printed(data: bytes) -> str:
    """Return bytes as text, with a dot for each that can't be printed."""
    return data.decode("latin-1").translate(_PRINTED)


def shown_buffer(data: str | None) -> str | None:
    """Return evt.buffer as output prints it."""
    return None if data is None else printed(data.encode("utf-8", "surrogateescape"))
