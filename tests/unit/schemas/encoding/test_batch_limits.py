"""Limits of a batch's header: checked when decoding, and never exceeded by an honest collector."""

from array import array
from dataclasses import replace
from typing import Any

import pytest

from schemas.batch import Container, Mount, NetworkServer, Process
from schemas.encoding.batch import BadBatch, decode_batch, encode_batch
from schemas.encoding.limits import MAX_CLOCK, MAX_SEQUENCE, clipped_name
from tests.unit.processor.batches import INIT, batch_of

NAMES = ("host_id", "hostname", "boot_id", "collector_version", "kernel", "rules_version", "interest_version")
CLOCKS = ("collector_start", "created", "sent", "previous_start")
EVENT = {"type": "openat"}


def _comes_back(**head: Any) -> bool:
    batch = replace(batch_of(EVENT), **head)
    found = decode_batch(encode_batch(batch))
    return all(getattr(found, name) == value for name, value in head.items())


@pytest.mark.parametrize(
    "head",
    [
        *({name: text} for name in NAMES for text in ("a" * 257, "\u20ac" * 86, "\udc80" * 257)),
        *({name: time} for name in CLOCKS for time in (MAX_CLOCK, -MAX_CLOCK - 1, 2**63 - 1, -(2**63))),
        *({"sequence": number} for number in (-1, MAX_SEQUENCE, 2**62)),
        *({"previous_sequence": number} for number in (-2, MAX_SEQUENCE)),
        *({"first_number": number} for number in (-1, 2**62)),
        *({"first_index": number} for number in (-1, 2**19)),
        *({"memory_bytes": number} for number in (-1, 2**62)),
        *({"cpu_seconds": number} for number in (-1.0, float("nan"), float("inf"))),
        *({"lost": lost} for lost in ({"x": -1}, {"x": 2**62}, {"x" * 257: 1}, {str(n): 1 for n in range(1001)})),
        *({name: value} for name in ("watched", "narrowed") for value in (["x" * 257], ["x"] * 1001)),
    ],
    ids=repr,
)
def test_a_head_out_of_range_is_refused(head: dict[str, Any]) -> None:
    """A header value out of range is rejected, and the message names it."""
    (name,) = head
    with pytest.raises(BadBatch, match=name):
        decode_batch(encode_batch(replace(batch_of(EVENT), **head)))


@pytest.mark.parametrize("time", [MAX_CLOCK, -MAX_CLOCK - 1, 2**63 - 1, -(2**63)])
def test_a_time_that_no_clock_shows_is_refused(time: int) -> None:
    """Timestamps out of range of an event, a process or a container are rejected."""
    batch = batch_of(EVENT, EVENT, EVENT)
    column = array("q", [1, time, 1])
    wrong = [
        replace(batch, columns={**batch.columns, "time": column}),
        *(replace(batch, processes=[INIT, Process(pid=2, **{name: time})]) for name in ("start_time", "exec_time")),
        replace(batch, processes=[INIT, Process(pid=2, pidns_init_start_time=time)]),
        replace(batch, containers=[Container("1", "1", "docker", start_ts=time)]),
    ]
    for each in wrong:
        with pytest.raises(BadBatch, match="out of range"):
            decode_batch(encode_batch(each))


def test_what_is_at_the_limits_is_taken() -> None:
    """Any clock and any name of an honest host is accepted."""
    assert all(_comes_back(**{name: text}) for name in NAMES for text in ("a" * 256, "\u20ac" * 85, ""))
    assert all(_comes_back(**{name: time}) for name in CLOCKS for time in (MAX_CLOCK - 1, -MAX_CLOCK, 0, -1))
    assert _comes_back(sequence=MAX_SEQUENCE - 1, previous_sequence=-1, lost={"events_ring_full": 2**40})
    assert _comes_back(interest_version="+".join(f"20260101-00000{number}-0123abcd" for number in range(8)))
    for time in (MAX_CLOCK - 1, -MAX_CLOCK, 0, -1):
        batch = batch_of({**EVENT, "time": time}, processes=[Process(pid=1, start_time=time, exec_time=time)])
        assert decode_batch(encode_batch(batch)).columns["time"][0] == time


def test_what_an_inode_states_of_its_times_is_not_evaluated() -> None:
    """Inode times are not limited, since a file's owner can set them."""
    batch = batch_of(EVENT, processes=[Process(pid=1, exe_ino_mtime=2**63 - 1, exe_ino_ctime=-(2**63))])
    assert decode_batch(encode_batch(batch)).processes == batch.processes


@pytest.mark.parametrize(
    "text", ["a" * 10_000, "\u20ac" * 300, "\udc80" * 300, "\udc80" * 200, "a" * 238 + "\u20ac" * 300]
)
def test_a_shortened_name_fits_and_differs_from_others(text: str) -> None:
    """Shortening a name is idempotent."""
    assert _comes_back(hostname=clipped_name(text).encode("utf-8", "surrogateescape").decode("utf-8", "replace"))
    assert clipped_name(text) != clipped_name(f"{text}x")
    assert clipped_name(clipped_name(text)) == clipped_name(text)


@pytest.mark.parametrize("name", ["args", "env"])
def test_one_text_cannot_stand_for_many_megabytes(name: str) -> None:
    """A row that refers to a long text a thousand times is rejected; one with short texts is not."""
    with pytest.raises(BadBatch, match=name):
        decode_batch(encode_batch(batch_of(EVENT, processes=[Process(pid=1, **{name: ("A" * 200_000,) * 10})])))
    with pytest.raises(BadBatch, match=name):
        decode_batch(encode_batch(batch_of(EVENT, processes=[Process(pid=1, **{name: ("A" * 4000,) * 1000})])))
    rows = [Process(pid=1, **{name: ("a",) * 4000}), Process(pid=2, **{name: ("A" * 4000,) * 2})]
    assert decode_batch(encode_batch(batch_of(EVENT, processes=rows))).processes == rows


def test_a_containers_labels_and_mounts_are_bounded() -> None:
    """The labels of a container are limited in the same way."""
    labels = (("a", "A" * 200_000),) * 10
    mounts = (Mount("/a", "/b", "", rw=True, propagation=""),) * 300
    for facts in ({"labels": labels}, {"pod_labels": labels}, {"mounts": mounts}):
        with pytest.raises(BadBatch, match=r"labels|mounts"):
            decode_batch(encode_batch(batch_of(EVENT, containers=[Container("1", "1", "docker", **facts)])))


def test_what_a_server_states_is_bounded() -> None:
    """In number and in bytes, and so is the number of servers, since a host may send what it likes."""
    fits = NetworkServer(("tcp 0.0.0.0:1",) * 8, "p" * 256, "1", "deb", ("l" * 256,) * 64)
    rows = [Process(pid=1, server=fits), Process(pid=2), Process(pid=3, server=fits)]
    assert decode_batch(encode_batch(batch_of(EVENT, processes=rows))).processes == rows
    for facts in (
        {"listening": ("a",) * 9},
        {"libraries": ("a",) * 65},
        {"package": "p" * 257},
        {"libraries": ("l" * 257,)},
    ):
        with pytest.raises(BadBatch, match="of a server"):
            decode_batch(encode_batch(batch_of(EVENT, processes=[Process(pid=1, server=replace(fits, **facts))])))
    many = [Process(pid=1, server=replace(fits, package=str(number))) for number in range(1001)]
    with pytest.raises(BadBatch, match="1001 servers"):
        decode_batch(encode_batch(batch_of(EVENT, processes=many)))
    column = decode_batch(encode_batch(batch_of(EVENT, processes=rows)))
    assert column.processes[0].server is column.processes[2].server
