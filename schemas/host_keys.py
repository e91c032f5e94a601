"""Records of hosts' keys: what a collector announces, and what processors and operators decide about it.

JSON, so that any tool can show them. All of it may come from an attacker, so lengths and ranges are checked here.
"""

import json
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Literal, get_args

from foundation.errors import LannerError

PUBLIC_KEY_BYTES = 32
"""Size of an Ed25519 public key. Source: RFC 8032, section 5.1.5."""
_PRIME = 2**255 - 19
_OF_ORDER_8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
_WEAK = frozenset({0, 1, _PRIME - 1, _OF_ORDER_8, _PRIME - _OF_ORDER_8})
"""The y coordinates of the eight points of small order. Source: libsodium,
ge25519_has_small_order()."""
MAX_HOST_ID_BYTES = 256
_MAX_TEXT = 256
_MAX_BYTES = 4096
_LATEST = 4_102_444_800_000_000_000
"""The year 2100, ns."""

State = Literal["pinned", "enrolled", "revoked"]


class BadHostKey(LannerError, ValueError):
    """The bytes are not a record of a host's key, or a value in it is out of range."""


@dataclass(frozen=True, slots=True)
class HostKey:
    """The decision about one host."""

    host_id: str
    state: State
    """pinned: a processor accepted the first key that it received; enrolled, revoked: an operator decided."""
    public_key: bytes
    """Empty only if a host was revoked whose key was not known."""
    since: int
    """Wall clock at the decision, ns."""
    by: str = ""
    """The processor, or the operator and the machine on which the command ran."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """The announcement of a collector. It has no effect until a processor or an operator decides."""

    host_id: str
    hostname: str
    public_key: bytes
    announced: int
    """Wall clock of the host, ns."""
    collector_version: str = ""


def key_id(public_key: bytes) -> str:
    """Return a short name of a key for display; too short to prove which key it is."""
    return blake2b(public_key, digest_size=8).hexdigest()


def is_weak(public_key: bytes) -> bool:
    """Return whether anyone can sign for a key without a private key, since its point has a small order."""
    # The last bit is the sign of x. Coordinates beyond the prime stand for the same points.
    return (int.from_bytes(public_key, "little") & ((1 << 255) - 1)) % _PRIME in _WEAK


def parse_public_key(text: str) -> bytes:
    """Parse a public key from 64 hexadecimal digits.

    Raises:
        BadHostKey: the text is not a key.
    """
    try:
        key = bytes.fromhex(text.strip())
    except ValueError:
        key = b""
    if len(key) != PUBLIC_KEY_BYTES:
        raise BadHostKey(f"{text[:100]!r} is not a public key, which is {2 * PUBLIC_KEY_BYTES} hexadecimal digits")
    if is_weak(key):
        raise BadHostKey(f"{text.strip()} is not a safe public key: anyone can sign for it")
    return key


def check_host_id(host_id: str) -> None:
    """Raise BadHostKey if a text can't be a host's id."""
    try:
        size = len(host_id.encode())
    except UnicodeEncodeError:
        raise BadHostKey("the host id is not valid UTF-8") from None
    if not 0 < size <= MAX_HOST_ID_BYTES:
        raise BadHostKey(f"the host id has {size} bytes; 1 to {MAX_HOST_ID_BYTES} are allowed")


def encode_host_key(record: HostKey) -> bytes:
    """Encode a decision. Raises BadHostKey if no reader would accept it."""
    return _encoded(
        {
            "host_id": record.host_id,
            "state": record.state,
            "public_key": record.public_key.hex(),
            "since": record.since,
            "by": record.by,
        },
        decode_host_key,
    )


def decode_host_key(data: bytes) -> HostKey:
    """Decode and check a decision. Raises BadHostKey."""
    row = _row(data)
    state: State | None = next((each for each in get_args(State) if each == row.get("state")), None)
    if state is None:
        raise BadHostKey("unknown state")
    key = _text(row, "public_key")
    return HostKey(
        host_id=_host_id(row),
        state=state,
        public_key=b"" if state == "revoked" and not key else parse_public_key(key),
        since=_time(row, "since"),
        by=_text(row, "by"),
    )


def encode_announcement(announcement: Announcement) -> bytes:
    """Encode an announcement. Raises BadHostKey if no reader would accept it."""
    return _encoded(
        {
            "host_id": announcement.host_id,
            "hostname": announcement.hostname[:_MAX_TEXT],
            "public_key": announcement.public_key.hex(),
            "announced": announcement.announced,
            "collector_version": announcement.collector_version,
        },
        decode_announcement,
    )


def decode_announcement(data: bytes) -> Announcement:
    """Decode and check an announcement. Raises BadHostKey."""
    row = _row(data)
    return Announcement(
        host_id=_host_id(row),
        hostname=_text(row, "hostname"),
        public_key=parse_public_key(_text(row, "public_key")),
        announced=_time(row, "announced"),
        collector_version=_text(row, "collector_version"),
    )


def _encoded(row: dict[str, Any], check: Any) -> bytes:
    data = json.dumps(row, separators=(",", ":")).encode()
    check(data)
    return data


def _row(data: bytes) -> dict[str, Any]:
    if len(data) > _MAX_BYTES:
        raise BadHostKey(f"{len(data)} bytes; {_MAX_BYTES} are allowed")
    try:
        row = json.loads(data)
    except (ValueError, RecursionError):
        raise BadHostKey("not JSON") from None
    if not isinstance(row, dict):
        raise BadHostKey("not a JSON object")
    return row


def _host_id(row: dict[str, Any]) -> str:
    host_id = _text(row, "host_id")
    check_host_id(host_id)
    return host_id


def _text(row: dict[str, Any], name: str) -> str:
    value = row.get(name, "")
    if not isinstance(value, str) or len(value) > _MAX_TEXT:
        raise BadHostKey(f"{name} is not a text of at most {_MAX_TEXT} characters")
    return value


def _time(row: dict[str, Any], name: str) -> int:
    value = row.get(name)
    if type(value) is not int or not 0 <= value < _LATEST:
        raise BadHostKey(f"{name} is not a valid time")
    return value
