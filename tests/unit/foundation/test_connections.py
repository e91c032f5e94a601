import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from foundation.connections import ClientGroups, ConnectionBound, Waits, address_group, to_close
from tests.notes import into


@dataclass(slots=True, eq=False)
class Held:
    """A connection."""

    group: str
    since: float
    waits: Waits = Waits.REQUEST
    is_known: bool = False


def held(groups: str, waits: Waits = Waits.REQUEST, *, is_known: bool = False) -> list[Held]:
    """Return connections of clients with names of one character, oldest first."""
    return [Held(group, float(number), waits, is_known) for number, group in enumerate(groups)]


def closed(connected: Sequence[Held], newcomer: str = "z", most: int = 4, reserved: int = 0) -> int | None:
    """Return the place of the connection that is closed; -1 for the new one, None for none."""
    new = Held(newcomer, 99)
    found = to_close(connected, new, most, reserved)
    return None if found is None else -1 if found is new else list(connected).index(found)


@pytest.mark.parametrize(
    ("groups", "newcomer", "expected"),
    [("abc", "z", None), ("abcd", "z", 0), ("abbc", "z", 1), ("abbc", "c", 1), ("abcd", "d", 0), ("aaaa", "a", 0)],
)
def test_the_client_with_the_most_loses_its_oldest(groups: str, newcomer: str, expected: int | None) -> None:
    """A new connection always fits; of clients with equally many, the oldest of all goes."""
    assert closed(held(groups), newcomer) == expected


def test_what_the_server_waits_for_goes_before_what_waits_for_it() -> None:
    """An idle connection first, then one without a complete request, then one whose client reads nothing."""
    one, two, three, four = held("aaaa", Waits.SERVER)
    assert closed([one, two, three, four]) == 0
    four.waits = Waits.ANSWER
    assert closed([one, two, three, four]) == 3
    three.waits = Waits.REQUEST
    assert closed([one, two, three, four]) == 2
    two.waits = Waits.IDLE
    assert closed([one, two, three, four]) == 1


@pytest.mark.parametrize(
    ("groups", "newcomer", "expected"), [("aabc", "z", 0), ("aabc", "b", -1), ("aabc", "a", -1), ("abcd", "z", -1)]
)
def test_if_all_wait_for_the_server_nobody_gets_more_than_others(groups: str, newcomer: str, expected: int) -> None:
    """A new connection is refused if its client had as many as the one with the most."""
    assert closed(held(groups, Waits.SERVER), newcomer) == expected


def test_who_is_known_has_connections_in_reserve() -> None:
    """Strangers have theirs, too, and the known use what is left."""
    known = held("kkkkk", is_known=True)
    assert closed(known[:2] + held("a"), most=4, reserved=2) is None
    assert closed(held("ab"), most=4, reserved=2) == 0
    assert closed(known[:1] + held("ab"), most=4, reserved=2) == 1
    assert closed(known[:3] + held("a"), most=4, reserved=2) == 0


def test_what_was_closed_is_counted_and_reported_now_and_then() -> None:
    """The message names the client with the most."""
    notes: list[str] = []
    bound = ConnectionBound("intake", 4, report=into(notes))
    for number in range(3):
        assert bound.admit(held("abbc"), Held("z", number * 301.0)) is not None
    bound.admit(held("abcd", Waits.SERVER), Held("a", 302))
    assert bound.closed == {"evicted": 3, "refused": 1, "timeout": 0}
    assert len(notes) == 2
    assert notes[0].startswith("warning: intake: all connections are in use, 2 of 4 by b:")


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("127.9.9.9", "this host"),
        ("::1", "this host"),
        ("", ""),
    ],
)
def test_addresses_that_one_client_has_many_of_are_one(address: str, expected: str) -> None:
    """A provider gives each customer a /64."""
    assert address_group(address) == expected


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_connections_of_this_host_are_told_apart_by_user(host: str) -> None:
    """The kernel knows who has the other end, as long as it is open."""
    groups = ClientGroups()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as server:
        client = socket.create_connection(server.getsockname()[:2])
        taken, _ = server.accept()
        assert groups.of(taken) == f"user {os.getuid()} of this host"
        client.close()
        assert groups.of(taken) in ("this host", "")
        taken.close()
    groups.close()
