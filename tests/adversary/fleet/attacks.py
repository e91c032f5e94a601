"""What a host sends that has a collector's rights and no scruples, drawn by hypothesis; no fleet is known here."""

import struct
import time
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal

from hypothesis import reject
from hypothesis import strategies as st

from bus.messages import CLOCK, KEY, SENT, SIGNATURE
from bus.topics import EVENTS, HOSTS
from schemas.batch import NUMBER_COLUMNS, STRING_COLUMNS, Container, EventBatch, Mount, Process
from schemas.encoding.batch import BadBatch, decode_batch, encode_batch
from schemas.encoding.columns import NULLABLE, SURE, TEXTS
from tests.adversary.fleet.honest import NAMES
from tests.unit.processor.batches import batch_of

PARTITIONS = 8
OWN = ("evil-1", "evil-2", "evil-3")
"""Under the first it signs everything; the others are made up."""
BOMBS = {"gzip": 96 << 20, "lz4": 96 << 20, "zstd": 96 << 20, "snappy": 12 << 20}
"""How many zeros a codec makes a small message of; snappy leaves more than a broker takes of many."""
Signer = Literal["right", "none", "wrong", "rubbish"]


@dataclass(frozen=True, slots=True)
class Attack:
    """One message."""

    value: bytes | None
    key: bytes | None = OWN[0].encode()
    signer: Signer = "right"
    """right: by its own key, over just this message; wrong: over another."""
    headers: tuple[tuple[str, bytes | None], ...] = ()
    codec: str = "none"
    partition: int = -1
    topic: str = EVENTS
    repeats: int = -1
    """The place of an honest host's message that is sent again instead; -1 for none."""

    @property
    def speaks_for_others(self) -> bool:
        """Whether it would count for an honest host where nothing is verified."""
        batch = decoded(self.value)
        return self.repeats >= 0 or (batch is not None and batch.host_id in NAMES)


def decoded(value: bytes | None) -> EventBatch | None:
    """Return the batch that a message holds; None where it holds none."""
    try:
        return decode_batch(value or b"")
    except BadBatch:
        return None


_RANGES = {"q": (-(2**63), 2**63 - 1), "Q": (0, 2**64 - 1), "i": (-(2**31), 2**31 - 1), "I": (0, 2**32 - 1)}
_RANGES |= {"h": (-(2**15), 2**15 - 1), "B": (0, 255)}
_EDGES = (0, 1, -1, 2, 255, 4096, 2**31 - 1, 2**31, -(2**31), 2**40, 2**53, 2**62 - 1, 2**62, -(2**62), 2**63 - 1)


@cache
def numbers(code: str) -> st.SearchStrategy[int]:
    """Draw a number of a column. code: its struct format character."""
    low, high = _RANGES[code]
    edges = [edge for edge in (*_EDGES, low, high) if low <= edge <= high]
    return st.one_of(st.sampled_from(edges), st.integers(low, high))


_LONG = st.builds(
    lambda text, size: text * (size // len(text.encode())),
    st.sampled_from(["A", "../", "a" * 31 + "b ", "\u202e", "\x00", "é", "%s%n{}", "\U0001f4a3"]),
    st.sampled_from([100, 255, 3_000, 3_000, 65_000, 65_000, 66_000]),
)
_SHORT = st.text(st.characters(codec="utf-8"), max_size=24)
_SAMPLES = st.sampled_from(
    [
        *("", "\x00", "\n", "\x1b[2J\x1b]0;x\x07", "evil", "systemd", "web-1", "host", "docker", "10.0.0.1", "::1"),
        *("/etc/shadow", "a" * 256, "\udc80\udcff", "<NA>", "%fd.name", "-1", "O_RDONLY", "None"),
    ]
)
texts = st.one_of(_SAMPLES, _SHORT, _SHORT, _LONG)
names = st.one_of(_SAMPLES, st.text(st.characters(codec="utf-8"), max_size=16))
_TYPES = st.sampled_from(["openat", "openat", "connect", "execve", "unlink", "clone", "no such call", "", "\x00"])


@cache
def clocks(*, wild: bool = True) -> st.SearchStrategy[int]:
    """Draw a time, ns since the epoch: near now, or anything. wild: also what no clock shows."""
    steps = st.one_of(st.integers(-(10**11), 10**11), st.sampled_from([10**18, -(10**17)]))
    near = steps.map(lambda step: time.time_ns() + step)
    shown = st.one_of(near, near, st.sampled_from([0, 10**10, 2**62 - 1, -(2**62)]))
    return st.one_of(shown, numbers("q")) if wild else shown


@cache
def _within(low: int, high: int, *, wild: bool) -> st.SearchStrategy[int]:
    return numbers("q") if wild else st.one_of(st.sampled_from([low, high]), st.integers(low, high))


@st.composite
def _process(draw: st.DrawFn, *, wild: bool) -> Process:
    """Draw a process. wild: it may point to rows that are not there, and have times that no clock shows."""
    facts: dict[str, Any] = {}
    for name in sorted(draw(st.sets(st.sampled_from(sorted(NULLABLE)), max_size=6))):
        facts[name] = draw(clocks(wild=wild) if name.endswith("_time") else numbers(NULLABLE[name]))
    for name in sorted(draw(st.sets(st.sampled_from(TEXTS), max_size=5))):
        facts[name] = draw(texts)
    if wild:
        for name in sorted(draw(st.sets(st.sampled_from(sorted(set(SURE) - {"pid"})), max_size=2))):
            facts[name] = draw(st.one_of(st.integers(-1, 0), numbers(SURE[name])))
    for name in ("args", "env"):
        facts[name] = draw(st.none() | st.lists(texts, max_size=4).map(tuple))
    return Process(pid=draw(st.one_of(st.integers(1, 9), numbers("q"))), **facts)


@cache
def _containers(*, wild: bool) -> st.SearchStrategy[Container]:
    mounts = st.lists(st.builds(Mount, texts, texts, names, st.booleans(), names), max_size=3).map(tuple)
    too_many = st.just((Mount("a", "b", "c", rw=True, propagation=""),) * 300)
    return st.builds(
        Container,
        id=names,
        full_id=texts,
        type=names,
        name=st.none() | texts,
        image=st.none() | texts,
        image_repository=st.none() | texts,
        privileged=st.none() | st.booleans(),
        start_ts=st.none() | clocks(wild=wild),
        mounts=st.none() | mounts | too_many if wild else st.none() | mounts,
        labels=st.none() | st.lists(st.tuples(texts, texts), max_size=3).map(tuple),
    )


_NUMBERS = sorted(set(NUMBER_COLUMNS) - {"time", "process"})
_STRINGS = sorted(set(STRING_COLUMNS) - {"type", "fd_name"})


@st.composite
def _event(draw: st.DrawFn, *, wild: bool) -> dict[str, Any]:
    """Draw an event.

    Args:
        draw: by hypothesis.
        wild: whether its time may be what no clock shows.
    """
    event: dict[str, Any] = {"type": draw(_TYPES), "fd_name": draw(texts), "process": draw(st.integers(0, 2))}
    event["time"] = draw(clocks(wild=wild))
    for name in sorted(draw(st.sets(st.sampled_from(_NUMBERS), max_size=4))):
        event[name] = draw(numbers(NUMBER_COLUMNS[name]))
    for name in sorted(draw(st.sets(st.sampled_from(_STRINGS), max_size=4))):
        event[name] = draw(texts)
    arguments = st.tuples(texts, numbers("q"))
    event["args"] = draw(st.dictionaries(st.sampled_from(["flags", "path", "mode", "evil", ""]), arguments, max_size=3))
    return event


@cache
def _tables(*, wild: bool) -> st.SearchStrategy[tuple[list[Process], list[Container], list[dict[str, Any]]]]:
    return st.tuples(
        st.lists(_process(wild=wild), min_size=1, max_size=3),
        st.lists(_containers(wild=wild), max_size=2),
        st.lists(_event(wild=wild), max_size=4),
    )


@cache
def _heads(*, wild: bool) -> st.SearchStrategy[dict[str, Any]]:
    counts = _within(0, 2**53 - 1, wild=wild)
    optional: dict[str, st.SearchStrategy[Any]] = {
        "sent": clocks(wild=wild),
        "previous_start": clocks(wild=wild),
        "previous_sequence": _within(-1, 2**40 - 1, wild=wild),
        "rules_version": names,
        "interest_version": texts if wild else names,
        "cpu_seconds": st.floats() if wild else st.floats(0, 1e11),
        "memory_bytes": counts,
        "lost": st.dictionaries(names, counts, max_size=4),
        "watched": st.lists(names, max_size=4) | st.just(["x"] * (1_001 if wild else 1_000)),
        "narrowed": st.lists(names, max_size=4),
        "interest": st.binary(max_size=64),
        "stopping": st.booleans(),
    }
    return st.fixed_dictionaries({"created": clocks(wild=wild)}, optional=optional)


_hostnames = st.one_of(st.just(OWN[0]), st.sampled_from(NAMES), names)
_sizes = st.sampled_from([1] * 14 + [50, 700, 2_600])


@st.composite
def batches(draw: st.DrawFn, number: int, host: str = OWN[0]) -> EventBatch:
    """Draw a batch with arbitrary content; some batches hold values out of range."""
    wild = draw(st.sampled_from([False, False, False, True]))
    rows, boxes, drawn = draw(_tables(wild=wild))
    plain = {"type": "openat", "fd_name": f"/evil/{number}/", "time": time.time_ns(), "fd_name_raw": draw(names)}
    for event in drawn:
        event["fd_name"] = f"/evil/{number}/{event['fd_name']}"
        event["process"] %= len(rows)
    head = draw(_heads(wild=wild))
    batch = batch_of(
        *[plain] * draw(_sizes),
        *drawn,
        processes=rows,
        containers=boxes,
        host_id=host,
        hostname=draw(_hostnames),
        boot_id=draw(names),
        collector_start=draw(clocks(wild=wild)),
        sequence=draw(_within(0, 2**40 - 1, wild=wild)),
        first_number=draw(_within(0, 2**53 - 1, wild=wild)),
    )
    return replace(batch, **head)


def encoded(batch: EventBatch) -> bytes:
    """Encode a batch; reject the draw if our own encoder can't encode it."""
    try:
        return encode_batch(batch)
    except (OverflowError, TypeError, ValueError, struct.error):
        reject()


@st.composite
def mutated(draw: st.DrawFn, data: bytes) -> bytes:
    """Draw bytes that are nearly these."""
    index = draw(st.integers(0, len(data)))
    match draw(st.sampled_from(["cut", "flip", "flip", "insert", "huge", "double", "head", "tail"])):
        case "cut":
            return data[:index]
        case "flip":
            made = bytearray(data)
            for _ in range(draw(st.integers(1, 8))):
                made[draw(st.integers(0, len(data) - 1))] ^= 1 << draw(st.integers(0, 7))
            return bytes(made)
        case "insert":
            return data[:index] + draw(st.binary(min_size=1, max_size=16)) + data[index:]
        case "huge":
            # A length as Avro writes it, far beyond what follows.
            return data[:index] + b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01" + data[index:]
        case "double":
            return data[:index] + data
        case "head":
            return draw(st.binary(min_size=10, max_size=10)) + data[10:]
        case _:
            return data + bytes(draw(st.integers(1, 1000)))


_headers = st.lists(
    st.tuples(
        st.sampled_from([KEY, SIGNATURE, SENT, CLOCK, "content-type", "ce_id", "", "\x00", "é" * 100]),
        st.none() | st.binary(max_size=80) | st.sampled_from([b"9" * 20, b"-1", b"1e9", b"x" * 20_000]),
    ),
    max_size=4,
).map(tuple)
_signers: st.SearchStrategy[Signer] = st.sampled_from(["right", "right", "none", "wrong", "rubbish"])
_codecs = st.sampled_from(["none", "none", "gzip", "lz4", "zstd", "snappy"])
_others = st.sampled_from([*NAMES, *OWN[1:]])


@st.composite
def attacks(draw: st.DrawFn, number: int) -> Attack:
    """Draw one message. number: marks it."""
    kind = draw(
        st.sampled_from(
            [
                *("own", "own", "own", "own", "clock", "forged", "forged", "mutated", "mutated", "rubbish"),
                *("headers", "repeat", "announcement", "bomb", "key"),
            ]
        )
    )
    match kind:
        case "own":
            return Attack(encoded(draw(batches(number))), codec=draw(_codecs))
        case "clock":
            by_name = {SENT: draw(clocks()), CLOCK: draw(numbers("q"))}
            headers = tuple(
                (name, b"%d" % by_name[name]) for name in sorted(draw(st.sets(st.sampled_from([SENT, CLOCK]))))
            )
            return Attack(encoded(draw(batches(number))), headers=headers)
        case "forged":
            value = encoded(draw(batches(number, draw(_others))))
            under = draw(st.one_of(_others, st.just(OWN[0])))
            partition = draw(st.sampled_from([-1, -1, *range(PARTITIONS)]))
            return Attack(value, under.encode(), draw(_signers), codec=draw(_codecs), partition=partition)
        case "mutated":
            value = draw(mutated(encoded(draw(batches(number)))))
            return Attack(value, signer=draw(_signers), codec=draw(_codecs))
        case "rubbish":
            rubbish = draw(st.none() | st.binary(max_size=200) | st.just(b"") | st.just(bytes(900_000)))
            return Attack(rubbish, draw(st.sampled_from([b"evil-1", b"evil-9"])), draw(_signers))
        case "headers":
            value = encoded(draw(batches(number)))
            return Attack(value, signer=draw(_signers), headers=draw(_headers))
        case "repeat":
            return Attack(None, repeats=draw(st.integers(0, 1 << 30)), headers=draw(st.just(()) | _headers))
        case "announcement":
            announced = draw(st.none() | st.binary(max_size=200) | st.just(b'{"host_id": "web-1"}'))
            return Attack(announced, draw(_others).encode(), "none", draw(_headers), topic=HOSTS)
        case "bomb":
            codec = draw(st.sampled_from(sorted(BOMBS)))
            return Attack(bytes(BOMBS[codec]), signer=draw(_signers), codec=codec)
        case _:
            key = draw(st.none() | st.binary(max_size=300) | st.just(b"") | st.just(b"k" * 10_000))
            return Attack(encoded(draw(batches(number))), key, draw(_signers))


def bombs() -> list[Attack]:
    """Return small messages that decompress to a lot, one for each codec: few are drawn, and none may be left out."""
    return [Attack(bytes(size), codec=codec) for codec, size in BOMBS.items()]
