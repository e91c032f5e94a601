from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.events.system_calls import BY_EVENT
from tests.unit.collector import packed
from tests.unit.collector.events.reuse import ReusingBatch, World, assert_reported_alike, reported

AT_FDCWD = (1 << 32) - 100
OPENED: dict[str, Any] = {
    "event": BY_EVENT["openat"].number,
    # The kernel side leaves out the path's address.
    "arguments": (AT_FDCWD, 0, 0, 0, 0, 0),
    "result": 3,
    "fd": 3,
    "mode": 0o100644,
    "ino": 77,
    "dev": 0x00800001,
    "kernel_path": b"/srv/a\0",
    "path1": b"/srv/a\0",
}

FAILED: dict[str, Any] = {"result": -2, "fd": -1, "mode": 0, "ino": 0, "dev": 0, "kernel_path": b""}


@pytest.fixture
def batch() -> ReusingBatch:
    """Return an empty batch."""
    return ReusingBatch(World())


def opened(**facts: Any) -> bytes:
    """Pack an open of a regular file by its absolute name."""
    return packed.syscall(**{**OPENED, **facts})


def test_an_open_of_another_file_is_like_the_first(batch: ReusingBatch) -> None:
    """Its names and inode are its own."""
    batch.take(opened())
    taken = batch.take(opened(ino=2**64 - 1, kernel_path=b"/b\0", path1=b"/l\0"))
    first, second = reported(batch.builder)

    assert taken
    own = ("fd_ino", "fd_name", "fd_name_raw", "fd_realpath")
    assert [second[0][name] for name in own] == [2**64 - 1, "/l", "/l", "/b"]
    assert {**second[0], **{name: first[0][name] for name in own}} == first[0]
    assert second[1][0] == ("fd", "<f>/b", 3)
    assert second[1][-1] == ("ino", str(2**64 - 1), -1)


def test_each_similar_open_for_writing_makes_its_process_the_writer(batch: ReusingBatch) -> None:
    """Its file is the event's own, although the event is reused."""
    batch.take(opened())
    assert all(map(batch.take, (opened(ino=78), opened(), opened(ino=78))))
    assert batch.written == [(78, 111), (77, 111), (78, 111)]


def test_an_open_of_code_is_like_no_other_if_its_file_is_looked_up(batch: ReusingBatch) -> None:
    """The facts about the first file are not those about the second."""
    batch.repeated.is_code_looked_up = True
    code = {"kernel_path": b"/srv/lib/b.so.1\0", "path1": b"b\0", "ino": 78}
    batch.take(opened())
    assert not batch.take(opened(**code))
    assert batch.take(opened(kernel_path=b"/srv/so\0", ino=79))


def test_an_open_below_another_root_is_like_no_other(batch: ReusingBatch) -> None:
    """Whether the root is before its name depends on mounts; a thread may have a root of its own."""
    batch.take(opened())
    assert not batch.take(opened(directory1=b"/srv/base\0"))
    assert not batch.take(opened(directory1=b"/srv/base\0"))

    assert [each[0]["fd_name"] for each in reported(batch.builder)] == ["/srv/a", "/srv/base/srv/a", "/srv/base/srv/a"]


def test_an_open_that_fails_in_the_same_way_is_like_the_first(batch: ReusingBatch) -> None:
    """Its names are its own, and it has no inode."""
    batch.take(opened(**FAILED))
    taken = batch.take(opened(**FAILED, path1=b"../b\0", directory1=b"/srv/d\0"))
    assert not batch.take(opened(**FAILED | {"result": -13}))
    first, second, _ = reported(batch.builder)

    assert taken
    own = ("fd_name", "fd_name_raw")
    assert [second[0][name] for name in own] == ["/srv/b", "../b"]
    assert {**second[0], **{name: first[0][name] for name in own}} == first[0]
    assert [argument for argument in second[1] if argument not in first[1]] == [("name", "/srv/b", 0)]


@pytest.mark.parametrize(
    "facts",
    [
        {"result": 4, "fd": 4},
        {"arguments": (AT_FDCWD, 0, 1, 0, 0, 0)},
        {"flags": packed.CREATED},
        {"mode": 0o100600},
        {"dev": 1},
        {"kernel_path": b""},
        {"path1": b""},
        {"path1": b"relative\0"},
    ],
)
def test_an_open_that_differs_in_more_is_not(batch: ReusingBatch, facts: dict[str, Any]) -> None:
    """Nor is one without a name."""
    batch.take(opened())

    assert not batch.take(opened(**facts))


@pytest.mark.parametrize(
    "facts",
    [
        {"arguments": (3, 0, 0, 0, 0, 0)},
        {"flags": packed.PSEUDO},
        {"mode": 0o40755},
        {"result": -2, "fd": -1},
        {"magic": 0x50494446},
        {"blob1": b"x"},
        {"event": BY_EVENT["unlinkat"].number},
    ],
)
def test_nothing_equals_what_is_reported_differently(batch: ReusingBatch, facts: dict[str, Any]) -> None:
    """A directory equal to the new descriptor, something other than a regular file, and calls that open nothing."""
    batch.take(opened(**facts))

    assert not batch.take(opened(**facts, ino=78, path1=b"/srv/b\0"))


@pytest.mark.parametrize("changed", ["changes", "version", "entry"])
def test_what_is_known_of_the_process_must_be_the_same(batch: ReusingBatch, changed: str) -> None:
    """An event must not show what its process was before; later events reuse the newest one."""
    batch.take(opened())
    if changed == "entry":
        batch.world.entry.version += 1
    else:
        setattr(batch.world, changed, 1)

    assert not batch.take(opened(ino=78))
    assert batch.take(opened(ino=79))


def test_another_batch_knows_nothing_of_the_last(batch: ReusingBatch) -> None:
    """Its texts have other indices."""
    batch.take(opened())
    batch.repeated.clear()

    assert not batch.take(opened())


@pytest.mark.parametrize("records", [[opened()] * 9, [opened(ino=number) for number in range(9)]])
def test_a_full_batch_takes_no_more(batch: ReusingBatch, records: list[bytes]) -> None:
    """Each event is added as long as the batch is smaller than its limit, as if it came alone."""
    batch.take(records[0])
    each = batch.builder.size // 2

    done = batch.reuse(records, 1, room=batch.builder.size + 3 * each)

    assert 1 < done < len(records)
    assert batch.builder.size >= 4 * each
    assert batch.builder.count == done


RECORDS = st.builds(
    packed.syscall,
    event=st.sampled_from([BY_EVENT[name].number for name in ("openat", "openat", "openat", "open", "unlinkat")]),
    arguments=st.tuples(
        st.sampled_from([AT_FDCWD, 3, 4]), st.integers(0, 3), st.sampled_from([0, 0o101]), *[st.just(0o644)] * 3
    ),
    result=st.sampled_from([3, 3, 3, -2]),
    fd=st.sampled_from([3, 3, 3, -1]),
    flags=st.sampled_from([0, 0, 0, packed.CREATED, packed.PSEUDO, packed.COMPAT, packed.OVERLAY]),
    mode=st.sampled_from([0o100644, 0o100644, 0o40755, 0]),
    ino=st.sampled_from([1, 2, 2**64 - 1]),
    magic=st.sampled_from([0, 0, 0x50494446]),
    kernel_path=st.sampled_from([b"/a\0", b"/b/\xff\0", b"memfd:x\0", b"", b"\0"]),
    path1=st.sampled_from([b"/a\0", b"../b\0", b"c\0", b"", b"\0", b"/d\0e"]),
    directory1=st.sampled_from([b"", b"/srv\0", b"/home/x\0"]),
    path2=st.sampled_from([b"", b"", b"", b"/p\0"]),
    blob1=st.sampled_from([b"", b"", b"", b"x"]),
)


FAILED_OPENS = st.builds(
    opened,
    **{name: st.just(value) for name, value in FAILED.items() if name != "result"},
    result=st.sampled_from([-2, -2, -13]),
    path1=st.sampled_from([b"/a\0", b"/b/\xff\0", b"../b\0", b"/c/\0", b"c\0", b"", b"\0", b"/d\0e"]),
    directory1=st.sampled_from([b"", b"/srv\0"]),
)


@given(st.lists(RECORDS, max_size=30) | st.lists(FAILED_OPENS, max_size=10))
@settings(max_examples=200)
def test_events_are_reported_as_if_no_two_were_equal(records: list[bytes]) -> None:
    """Speed is the only difference."""
    assert_reported_alike(records)
