"""Made-up hosts that sign as collectors do."""

from dataclasses import dataclass, field

from bus.messages import SENT, partition_of
from collector.publishing.identity import HostIdentity, SigningKey
from processor.hosts.identity import EventsMessage
from schemas.host_keys import HostKey, State

TOPIC, PARTITIONS = "t.events", 8
APPENDED = 1_795_530_690_000_000_000
_SMALL_ORDER = (
    "00" * 32,
    "01" + "00" * 31,
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    *(first + "ff" * 30 + "7f" for first in ("ec", "ed", "ee")),
)
WEAK_KEYS = [key[:31] + bytes([key[31] | sign]) for key in map(bytes.fromhex, _SMALL_ORDER) for sign in (0, 0x80)]
"""Every encoding of the points of small order. Source: libsodium, ge25519_has_small_order()."""


@dataclass(frozen=True)
class SigningHost:
    """A host with a key that its number decides."""

    host_id: str
    number: int = 1
    identity: HostIdentity = field(init=False)

    def __post_init__(self) -> None:
        key = SigningKey(bytes([self.number]) * 32)
        object.__setattr__(self, "identity", HostIdentity(self.host_id, self.host_id, "0.1.0", key))

    @property
    def public_key(self) -> bytes:
        """Return its public key."""
        return self.identity.key.public_key

    def record(self, state: State = "enrolled") -> HostKey:
        """Return what may have been decided about it."""
        return HostKey(self.host_id, state, self.public_key, APPENDED)

    def message(self, value: bytes = b"batch", *, topic: str = TOPIC) -> EventsMessage:
        """Return a message as its collector sends it."""
        key, reported = self.host_id.encode(), {SENT: b"7"}
        headers = [*reported.items(), *self.identity.signature(topic, key, reported, value)]
        return EventsMessage(partition_of(key, PARTITIONS), key, headers, value, APPENDED)
