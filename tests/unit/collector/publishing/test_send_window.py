from collections import deque
from dataclasses import dataclass, field, replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from bus.topics import BATCH_BYTES
from collector.publishing.send_window import QueuedBatch, SendWindow
from collector.publishing.spool import Segment
from schemas.batch import EventBatch
from schemas.encoding.batch import decode_batch, encode_batch
from tests.unit.processor.batches import batch_of


def batch(sequence: int, *sizes: int) -> EventBatch:
    """Return a batch whose events have different texts of these sizes."""
    events = (
        {"type": "openat", "fd_name": f"{sequence}/{index}/".ljust(size, "x")} for index, size in enumerate(sizes)
    )
    return replace(batch_of(*events, sequence=sequence), lost={"events_ring_full": sequence})


@dataclass
class Broker:
    """Accepts what fits within a limit; messages sent together may be refused together."""

    limit: int
    together: int = 1
    """Messages per request."""
    taken: list[EventBatch] = field(default_factory=list)
    refusals: int = 0
    in_flight: deque[QueuedBatch] = field(default_factory=deque)

    def answer(self, window: SendWindow) -> int:
        """Respond to one request; return how many of its events are permanently lost."""
        request = [self.in_flight.popleft()]
        size = len(request[0].encoded)
        while self.in_flight and len(request) < self.together:
            size += len(self.in_flight[0].encoded)
            if size > BATCH_BYTES:
                break
            request.append(self.in_flight.popleft())
        is_taken = sum(len(each.encoded) for each in request) <= self.limit
        self.refusals += not is_taken
        lost = 0
        for each in request:
            if is_taken:
                window.delivered(each)
                self.taken.append(decode_batch(each.encoded))
            elif window.refused(each):
                lost += decode_batch(each.encoded).total
        return lost


def send_all(window: SendWindow, broker: Broker) -> int:
    """Send until nothing is left; return how many events are lost."""
    lost = 0
    for _ in range(10_000):
        while (one := window.next()) is not None:
            window.sent(one)
            broker.in_flight.append(one)
        if not broker.in_flight:
            break
        lost += broker.answer(window)
    list(window.release())
    assert len(window) == 0
    assert window.bytes == 0
    return lost


def test_what_is_too_large_goes_in_halves_and_only_one_event_is_lost() -> None:
    """Before later batches, and as one batch to whoever looks for gaps."""
    window, broker = SendWindow(), Broker(100_000)
    sizes = [20_000, 20_000, 110_000, *[20_000] * 9]
    for sequence, each in enumerate(([10], sizes, [10], [10])):
        window.add(encode_batch(batch(sequence, *each)), None, 0.0)

    assert send_all(window, broker) == 1

    order = [(part.sequence, part.first_index) for part in broker.taken]
    assert order == sorted(order)
    assert [part.sequence for part in broker.taken if part.lost] == [0, 1, 2, 3]
    indexes = [part.first_index + index for part in broker.taken if part.sequence == 1 for index in range(part.count)]
    assert indexes == [index for index in range(12) if index != 2]


def test_a_batch_that_is_larger_than_any_before_goes_alone() -> None:
    """So a refusal is known to be about it, and nothing overtakes it; known sizes are sent together."""
    window = SendWindow()
    for sequence, size in enumerate((10, 200_000, 10, 150_000)):
        window.add(encode_batch(batch(sequence, size)), None, 0.0)
    first = window.next()
    assert first is not None
    window.sent(first)
    assert window.next() is None
    window.delivered(first)
    large = window.next()
    assert large is not None
    window.sent(large)
    assert window.next() is None
    window.delivered(large)
    for _ in range(2):
        one = window.next()
        assert one is not None
        window.sent(one)


def test_what_is_known_to_be_too_large_is_divided_before_it_goes() -> None:
    """No bandwidth is spent on what the broker will refuse."""
    window, broker = SendWindow(), Broker(100_000)
    window.add(encode_batch(batch(1, 60_000, 60_000)), None, 0.0)
    assert send_all(window, broker) == 0
    assert broker.refusals == 1
    window.add(encode_batch(batch(2, 70_000, 70_000)), None, 0.0)
    assert send_all(window, broker) == 0
    assert broker.refusals == 1


def test_small_batches_that_are_refused_together_go_one_by_one() -> None:
    """Each fits, and none is divided or lost."""
    window, broker = SendWindow(), Broker(30_000, together=4)
    for sequence in range(8):
        window.add(encode_batch(batch(sequence, 7_000, 7_000)), None, 0.0)
    assert send_all(window, broker) == 0
    assert sorted(part.sequence for part in broker.taken) == list(range(8))
    assert {part.count for part in broker.taken} == {2}


def test_parts_stand_for_their_batch_on_disk() -> None:
    """The file is deleted once all of them have arrived, and not before."""
    segment = Segment(Path("unused"), is_read=True, waiting=1)
    window, broker = SendWindow(), Broker(100_000)
    window.add(encode_batch(batch(1, 60_000, 60_000)), segment, 0.0)
    first = window.next()
    assert first is not None
    window.sent(first)
    assert window.refused(first) is False
    # The batch's other reports form a separate part only if a single event is divided.
    assert segment.waiting == len(window) == 2
    assert all(each.segment is segment for each in window)
    assert send_all(window, broker) == 0


def test_after_a_failure_all_goes_again_in_order() -> None:
    """Parts stay parts, and a batch that had to be sent alone no longer delays the others."""
    window, broker = SendWindow(), Broker(100_000)
    for sequence in range(3):
        window.add(encode_batch(batch(sequence, 60_000, 60_000)), None, 0.0)
    one = window.next()
    assert one is not None
    window.sent(one)
    assert window.refused(one) is False
    one = window.next()
    assert one is not None
    window.sent(one)
    window.resend(5.0)
    assert {each.at for each in window} == {5.0}
    assert send_all(window, broker) == 0
    order = [(part.sequence, part.first_index) for part in broker.taken]
    assert order == sorted(order)


def test_what_the_client_refuses_is_divided_at_once() -> None:
    """The client checks each batch separately, whatever else is in flight."""
    window = SendWindow()
    window.add(encode_batch(batch(1, 10)), None, 0.0)
    assert send_all(window, Broker(BATCH_BYTES)) == 0
    for sequence in range(2):
        window.add(encode_batch(batch(sequence, 10, 10)), None, 0.0)
    for _ in range(2):
        one = window.next()
        assert one is not None
        window.sent(one)
    second = list(window)[-1]
    assert window.refused(second, by_client=True) is False
    assert len(window) == 3


def test_the_first_batch_of_a_client_goes_alone() -> None:
    """The others follow once the broker has it, for the first client and for the one that takes its place."""
    window = SendWindow()
    for sequence in range(5):
        window.add(encode_batch(batch(sequence, 10)), None, 0.0)

    def send() -> list[QueuedBatch]:
        sent = []
        while (one := window.next()) is not None:
            window.sent(one)
            sent.append(one)
        return sent

    (first,) = send()
    window.delivered(first)
    second, *rest = send()
    assert len(rest) == 3
    window.delivered(second)
    window.resend(1.0)
    assert send() == rest[:1]
    window.delivered(rest[0])
    assert send() == rest[1:]


@given(
    st.lists(st.lists(st.integers(0, 3_000), min_size=1, max_size=6), min_size=1, max_size=8),
    st.integers(1_500, 12_000),
    st.integers(1, 4),
)
def test_every_event_arrives_or_is_lost_for_its_own_size(sizes: list[list[int]], limit: int, together: int) -> None:
    """Whatever is refused together, and however small the limit."""
    window, broker = SendWindow(), Broker(limit, together)
    for sequence, each in enumerate(sizes):
        window.add(encode_batch(batch(sequence, *each)), None, 0.0)
    lost = send_all(window, broker)
    arrived = sum(part.count for part in broker.taken)
    assert arrived + lost == sum(map(len, sizes))
    alone = [encode_batch(replace(batch(99, size), lost={})) for each in sizes for size in each]
    # Give or take a few bytes: names and indices are shorter here.
    assert sum(len(each) > limit + 64 for each in alone) <= lost <= sum(len(each) > limit - 64 for each in alone)
