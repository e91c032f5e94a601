import json

import pytest

from bus.clients.availability import FORGOTTEN_SECONDS, STALLED_SECONDS, ConnectionState

UP = {"127.0.0.1:9092/1": {"state": "UP", "source": "learned"}}
DOWN = {"127.0.0.1:9092/1": {"state": "DOWN", "source": "learned"}}
GROUP_ALONE = {"GroupCoordinator": {"state": "TRY_CONNECT", "source": "logical"}}


class Clock:
    """A clock that the test sets."""

    now = 0.0

    def __call__(self) -> float:
        """Return the time, s."""
        return self.now


@pytest.mark.parametrize(
    ("brokers", "seconds"), [(DOWN, STALLED_SECONDS), (GROUP_ALONE, FORGOTTEN_SECONDS), ({}, FORGOTTEN_SECONDS)]
)
def test_a_client_without_a_connection_is_stalled_after_a_while(brokers: dict[str, object], seconds: float) -> None:
    """It has long to connect to a broker that it knows, and a short time if it knows none."""
    clock = Clock()
    state = ConnectionState(clock=clock)
    report = state.options["stats_cb"]
    report(json.dumps({"brokers": UP}))
    assert state.is_connected
    report(json.dumps({"brokers": brokers}))
    assert not state.is_connected
    clock.now = seconds
    assert not state.is_stalled
    clock.now += 1
    assert state.is_stalled


def test_a_client_that_is_connected_again_is_not_stalled() -> None:
    """What it knew in between does not count."""
    clock = Clock()
    state = ConnectionState(clock=clock)
    report = state.options["stats_cb"]
    report(json.dumps({"brokers": {}}))
    report(json.dumps({"brokers": UP}))
    clock.now = 2 * STALLED_SECONDS
    assert not state.is_stalled


def test_another_client_has_as_long_to_connect() -> None:
    """What the client before it knew does not count."""
    clock = Clock()
    state = ConnectionState(clock=clock)
    state.options["stats_cb"](json.dumps({"brokers": {}}))
    clock.now = 2 * STALLED_SECONDS
    state.renewed()
    clock.now += STALLED_SECONDS
    assert not state.is_stalled
    clock.now += 1
    assert state.is_stalled
