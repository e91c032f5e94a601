import pytest

from bus.local import LocalBus, Topic
from tests.unit.alerts import alert


def test_every_subscriber_gets_every_value_in_order() -> None:
    """Subscribers are called at once, on the same thread, in order."""
    seen: list[tuple[str, int]] = []
    topic: Topic[int] = Topic("numbers")
    topic.subscribe(lambda value: seen.append(("first", value)))
    topic.subscribe(lambda value: seen.append(("second", value)))

    topic.publish(1)
    topic.publish(2)

    assert seen == [("first", 1), ("second", 1), ("first", 2), ("second", 2)]


def test_what_a_subscriber_raises_reaches_the_publisher() -> None:
    """A subscriber's exception propagates to the publisher."""
    bus = LocalBus()

    def closed(_alert: object) -> None:
        raise BrokenPipeError

    bus.alerts.subscribe(closed)
    with pytest.raises(BrokenPipeError):
        bus.alerts.publish(alert())
