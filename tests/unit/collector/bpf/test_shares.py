"""Shares of a ring: whoever fills it leaves room to others, however many users, cgroups and processes he has."""

import os
import struct
from collections.abc import Iterator, Sequence
from itertools import count

import pytest

from collector.records.kernel_maps import RingUses
from tests.unit.collector.bpf.native import NativeKernel
from tests.unit.collector.calls import call
from tests.unit.collector.random_calls import EVENTS

SENT_WHOLE = 2
LOST, OVER_SHARE = 1, 6
"""Their counters' numbers."""
PAGE, WORDS = 4096, 40
RECORDS = 4000
"""How many records the ring holds."""
READ = call("openat", path1="/" + "x" * 100, result=-13)
CONTAINER, OTHER = (1, 2), (1, 3)
ROOT, NOBODY = 0, 65534

Account = tuple[tuple[int, ...], int]
"""A cgroup's path and a user."""


class SharedRing:
    """The ring of events, of which only what is written and read is real."""

    def __init__(self, kernel: NativeKernel) -> None:
        self._kernel = kernel
        kernel.put(None, EVENTS)
        kernel.set_setting(SENT_WHOLE, 0)
        kernel.set_ring(1 << 32)
        kernel.take()
        kernel.make(READ)
        (record,) = kernel.take()
        self._record = (len(record) + 15) & ~7
        self.size = RECORDS * self._record
        kernel.set_ring(self.size)
        self._shared = os.memfd_create("ring_uses")
        os.ftruncate(self._shared, PAGE)
        self._uses = RingUses(self._shared, [self.size])
        self._position = 0
        self._pids = count(100)
        self.read(0.0)

    def send(self, account: Account, process: int | None = None) -> bool:
        """Make a call as an account, by a new process if none is given; return whether its record is sent."""
        cgroup, user = account
        self._kernel.set_cgroup(*cgroup)
        self._kernel.set_user(user)
        self._kernel.set_process(next(self._pids) if process is None else process)
        self._kernel.make(READ)
        return bool(self._kernel.take())

    def fill(self, account: Account, process: int | None = None) -> float:
        """Send records until one is refused; return which part of the ring they take."""
        return next(number for number in count() if not self.send(account, process)) / RECORDS

    def read(self, part: float) -> None:
        """Read so much as is this part of the ring."""
        words = self._kernel.cells("ring_uses", WORDS)
        self._position += round(part * RECORDS) * self._record
        os.pwrite(self._shared, words[:8], 0)
        self._uses.read(0, self._position)
        words[8:] = os.pread(self._shared, WORDS - 8, 8)

    def counted(self, which: int) -> int:
        """Return a counter."""
        found: int = struct.unpack_from("<Q", self._kernel.cells("counters", 64), 8 * which)[0]
        return found

    def close(self) -> None:
        """Unmap the counters; leave the process as it was."""
        self._uses.close()
        os.close(self._shared)
        self._kernel.set_cgroup()
        self._kernel.set_user(0)


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> NativeKernel:
    """Return the program, compiled once."""
    return NativeKernel(tmp_path_factory.mktemp("native"))


@pytest.fixture
def ring(kernel: NativeKernel) -> Iterator[SharedRing]:
    """Yield an empty ring."""
    made = SharedRing(kernel)
    yield made
    made.close()


def test_one_process_gets_half_and_leaves_room_to_the_others_of_its_user(ring: SharedRing) -> None:
    """All processes of a user together get 58 percent, and another user a third of what is left."""
    host: Account = ((), NOBODY)
    shares = [ring.fill(host, process) for process in (101, 102, 103)]
    assert shares == pytest.approx([0.514, 0.055, 0.007], abs=0.002)

    shares += [ring.fill(host) for _ in range(500)]
    assert sum(shares) == pytest.approx(0.58, abs=0.01)
    assert ring.fill(((), ROOT), 7) == pytest.approx(0.138, abs=0.01)


def test_what_was_read_is_free_again(ring: SharedRing) -> None:
    """A part of it once a part was read."""
    host: Account = ((), NOBODY)
    for _ in range(3):
        half = ring.fill(host, 101)
        assert half == pytest.approx(0.514, abs=0.005)
        ring.read(0.0)
        ring.read(0.2)
        assert ring.fill(host, 101) == pytest.approx(0.2, abs=0.005)
        ring.read(half)


MULTIPLIED: dict[str, tuple[Sequence[Account], Sequence[Account]]] = {
    "processes": ([((), NOBODY)], [((), ROOT), ((), 1000), (CONTAINER, NOBODY)]),
    "users of a container": (
        [(CONTAINER, user) for user in range(300)],
        [((), ROOT), ((), 1000), (OTHER, ROOT), ((4,), ROOT)],
    ),
    "cgroups below a container": (
        [((*CONTAINER, number), ROOT) for number in range(5, 300)],
        [((), ROOT), (OTHER, ROOT), ((4,), ROOT), ((1,), ROOT)],
    ),
    "cgroups deep below a container": (
        [((*CONTAINER, 5, 6, 7, number), ROOT) for number in range(8, 300)],
        [((), ROOT), (OTHER, ROOT), ((*CONTAINER, 6), ROOT)],
    ),
    "subordinate users": (
        [((), user) for user in range(100_000, 165_536, 100)],
        [((), ROOT), ((), 1000), ((), NOBODY)],
    ),
}


@pytest.mark.parametrize("kind", MULTIPLIED)
def test_whoever_multiplies_gets_no_more(ring: SharedRing, kind: str) -> None:
    """New processes, users and cgroups share what the account around them has; each other account finds room."""
    hostile, others = MULTIPLIED[kind]
    for account in [*hostile, *hostile]:
        ring.fill(account)
    before = ring.counted(LOST)

    for other in others:
        assert all(ring.send(other, 7) for _ in range(RECORDS // 100)), other
    assert ring.counted(LOST) == before


@pytest.mark.parametrize("users", [1, 2, 16])
def test_one_that_makes_little_is_never_refused_while_users_flood(ring: SharedRing, users: int) -> None:
    """However slowly the ring is read: each user's processes end after one call, and others take their place."""
    for turn in range(60):
        for user in range(1000, 1000 + users):
            while ring.send(((), user)):
                pass
        if turn:
            assert ring.send(((), ROOT)), turn
        ring.read(0.01)


def test_a_loss_is_ones_own_only_if_one_holds_something(ring: SharedRing) -> None:
    """What others have filled is counted as a full ring."""
    for user in range(1000):
        ring.fill((CONTAINER, user))
    own, others = ring.counted(OVER_SHARE), ring.counted(LOST)
    assert not ring.send((CONTAINER, 5000))
    assert (ring.counted(OVER_SHARE), ring.counted(LOST)) == (own, others + 1)

    ring.fill(((), NOBODY), 101)
    own, others = ring.counted(OVER_SHARE), ring.counted(LOST)
    assert not ring.send(((), NOBODY), 101)
    assert (ring.counted(OVER_SHARE), ring.counted(LOST)) == (own + 1, others)
