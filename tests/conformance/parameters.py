"""A parser of event parameters in the cases' notation."""

from typing import Any


def plain(value: Any) -> Any:
    """Return a parameter of a case as a Python value."""
    if isinstance(value, str):
        return text_of(value)
    if isinstance(value, list):
        return [plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "bytes_hex" in value:
        return bytes.fromhex(value["bytes_hex"]).decode("utf-8", "surrogateescape")
    if "bytes" in value:
        return text_of(value["bytes"])
    if "null_delimited" in value:
        return [text_of(item) for item in value["null_delimited"]]
    if "empty" in value:
        return None
    return value


def text_of(text: str) -> str:
    """Decode the cases' notation of bytes as Latin-1 characters."""
    if text.isascii() or any(ord(letter) > 255 for letter in text):
        return text
    return text.encode("latin-1").decode("utf-8", "surrogateescape")


def words(value: Any) -> tuple[str, ...]:
    """Return a list, or a text separated by NULs, as words."""
    if not value:
        return ()
    if isinstance(value, list):
        return tuple(value)
    return tuple(word for word in value.split("\0") if word)


def ends_of(value: Any) -> tuple[tuple[str, int], tuple[str, int]] | None:
    """Return the two ends of a socket; None if the value is not a socket."""
    if not isinstance(value, dict) or "tuple" not in value:
        return None
    pair = value["tuple"]
    return tuple((pair[side]["ip"], pair[side]["port"]) for side in ("client", "server"))  # type: ignore[return-value]
