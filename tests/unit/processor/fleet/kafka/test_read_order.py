import random

from processor.fleet.kafka.read_order import Admission, ReadOrder

TAKE, SKIP, SEEK = Admission.TAKE, Admission.SKIP, Admission.SEEK


def admissions(order: ReadOrder, *offsets: int, end: int | None = None, now: float = 0.0) -> list[Admission]:
    """Return what to do with each of several messages."""
    return [order.check(offset, end, now) for offset in offsets]


def test_messages_in_order_are_taken_once() -> None:
    """What is delivered a second time is skipped."""
    assert admissions(ReadOrder(5, 0.0), 5, 6, 5, 6, 7, end=8) == [TAKE, TAKE, SKIP, SKIP, TAKE]


def test_missing_messages_are_read_again() -> None:
    """Those behind the gap wait until they come again."""
    order = ReadOrder(5, 0.0)
    assert admissions(order, 8, 9, 10) == [SEEK, SKIP, SKIP]
    assert admissions(order, 5, 6, 7, 8, 9, 10) == [TAKE] * 6


def test_messages_that_the_broker_deleted_are_not_waited_for() -> None:
    """If reading starts at the same one after two seeks, that one is taken."""
    order = ReadOrder(5, 0.0)
    assert admissions(order, 8, 9) == [SEEK, SKIP]
    assert admissions(order, 8) == [SEEK]
    assert admissions(order, 8, 9) == [TAKE, TAKE]


def test_a_seek_without_effect_is_repeated() -> None:
    """Ten seconds later the next message causes another one."""
    order = ReadOrder(0, 0.0)
    assert admissions(order, 3, 4, now=1.0) == [SEEK, SKIP]
    assert admissions(order, 5, now=12.0) == [SEEK]


def test_a_topic_that_was_made_anew_is_read_from_its_beginning() -> None:
    """Its end lies before what was read of the old one."""
    order = ReadOrder(500, 0.0)
    assert admissions(order, 0, 1, end=2) == [TAKE, TAKE]


def test_whatever_is_dropped_on_the_way_each_message_is_taken_once_and_in_order() -> None:
    """Each message may be dropped once, each seek may have no effect, and reading may start again anywhere before."""
    for seed in range(300):
        dice = random.Random(seed)
        order = ReadOrder(0, 0.0)
        droppable = {offset for offset in range(60) if dice.random() < 0.3}
        taken: list[int] = []
        position, now = 0, 0.0
        while order.next < 60:
            now += 1.0
            if position == 60 or dice.random() < 0.02:
                position = dice.randint(0, order.next)
            offset, position = position, position + 1
            if offset in droppable:
                droppable.remove(offset)
                continue
            admission = order.check(offset, 60, now)
            if admission is TAKE:
                taken.append(offset)
            elif admission is SEEK and dice.random() < 0.9:
                position = order.next
        assert taken == list(range(60)), seed


def test_skipped_messages_at_the_end_are_read_again() -> None:
    """No later message shows the gap, so the end of the partition does, after ten seconds without a message."""
    order = ReadOrder(5, 0.0)
    assert admissions(order, 5, now=1.0) == [TAKE]
    assert not order.is_overdue(6, 30.0)
    assert not order.is_overdue(8, 39.0)
    assert order.is_overdue(8, 41.0)
    assert not order.is_overdue(8, 42.0)
    assert admissions(order, 6, 7, now=43.0) == [TAKE, TAKE]
