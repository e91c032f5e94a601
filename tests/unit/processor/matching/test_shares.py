"""Who brings values to a group of first_seen can neither fill it for others nor hide what others bring."""

import io

import fastavro
import pytest

from processor.correlation.first_seen import Sightings
from processor.correlation.first_seen_group import Sighting
from processor.correlation.groups import _SCHEMA, SeenEntry, decode_record
from processor.correlation.windows import UpdateOutcome
from processor.matching.pre_match import SeenGroup, SeenValue, Span
from processor.matching.shares import EVERYONE, bringer_of, bringer_text
from schemas.alert import Value

DAY = 86_400
SECOND = 10**9
MOST = 1000
FULL, LEARNING = UpdateOutcome.FULL, UpdateOutcome.LEARNING


class Fleet:
    """A group that learned three values of the host web-1 nine days ago; times are in days."""

    def __init__(self, maximum: int = 1_000_000) -> None:
        self.known = Sightings({"m": Span.of(7 * DAY * SECOND, DAY * SECOND)}, maximum=maximum, group_maximum=MOST)
        self.count = 0
        for value in "abc":
            self.see(value, 1)
            self.see(value, 7)
        self.known.sweep(8 * DAY * SECOND)

    def see(
        self, value: str, day: float, host: str = "web-1", account: str = "", *, group: str = "g", new: bool = False
    ) -> UpdateOutcome | bool:
        """See a value. new: the host is new to the fleet."""
        self.count += 1
        at = round(day * DAY * SECOND)
        return self.known.see(Sighting("m", (group,), value, self.count, 7, at, host, not new, account))

    def flood(self, day: float, host: str = "attacked", account: str = "", count: int = 2 * MOST) -> None:
        """See many values of one host."""
        for number in range(count):
            self.see(f"{host} {account} {number}", day, host, account)


def test_a_flood_from_one_container_leaves_room_for_all_others() -> None:
    """Hosts, and the other containers and users of its own host, report what is new; what they knew stays known."""
    fleet = Fleet()
    fleet.flood(9, account="container 1")

    assert fleet.see("x", 9, "attacked", "container 1") is FULL
    assert fleet.see("y", 9) is True
    assert fleet.see("z", 9, "attacked", "container 2") is True
    assert fleet.see("u", 9, "attacked", "user 33") is True
    assert [fleet.see(value, 9) for value in "abcyz"] == [False] * 5
    assert len(fleet.known) == MOST


@pytest.mark.parametrize("accounts", [10, 300])
def test_many_containers_of_one_host_crowd_out_no_one(accounts: int) -> None:
    """The host with the most gives up first; on it, the containers with the most."""
    fleet = Fleet()
    for number in range(accounts):
        fleet.flood(9, account=f"container {number}", count=2 * MOST // accounts)

    assert [fleet.see(f"x{number}", 9) for number in range(MOST // 2 - 3)] == [True] * (MOST // 2 - 3)
    assert fleet.see("quiet", 9, "attacked", "container of somebody") is True
    assert [fleet.see(value, 9) for value in "abc"] == [False] * 3


def test_an_overflow_ends_although_its_values_go_on() -> None:
    """A few values every six days don't renew it, and each ends with what was new for its bringer as well."""
    fleet = Fleet()
    fleet.flood(9)
    for day in range(10, 60, 6):
        assert fleet.see(f"honest {day}", day) is True
        fleet.flood(day, account=f"{day}", count=50)
        fleet.known.sweep(day * DAY * SECOND)

    assert fleet.see("at last", 59, "attacked") is True


def test_what_someone_brings_after_his_overflow_is_known_to_him_alone() -> None:
    """A container that was blinded on purpose can't make a value known before another one has it."""
    fleet = Fleet()
    fleet.flood(9, account="container 1")
    for value in "abc":
        fleet.known.drop(("m", ("g",), value))

    assert fleet.see("evil", 9, "attacked", "container 1") is LEARNING
    assert fleet.see("evil", 9, "attacked", "container 1") is False
    assert fleet.see("evil", 9, "attacked", "container 2") is True
    assert fleet.see("evil", 9) is False


def test_values_of_new_hosts_count_together_until_a_known_host_has_them() -> None:
    """Made-up hosts are one host, however many there are."""
    fleet = Fleet()
    for number in range(2 * MOST):
        fleet.see(f"{number}", 9, f"made-up {number}", new=True)

    assert fleet.see("x", 9, "made-up again", new=True) is FULL
    assert fleet.see("y", 9) is True
    records = {key[2]: host for key, host, _ in fleet.known.records()}
    newest = next(reversed(records))
    fleet.see(str(newest), 10)
    assert {key[2]: host for key, host, _ in fleet.known.records()}[newest] == "web-1"


def test_too_many_values_in_all_cost_those_who_brought_them() -> None:
    """One host fills the groups of others: its own values go there, and its own groups learn again."""
    fleet = Fleet(maximum=500)
    for number in range(800):
        fleet.see(f"{number}", 9, "attacked", group=f"g{number % 3}" if number % 4 else "g")

    assert len(fleet.known) <= 500
    assert set(fleet.known.take_evicted()) == {"attacked"}
    assert [fleet.see(value, 9) for value in "abc"] == [False] * 3
    assert fleet.see("x", 9) is True
    assert fleet.see("y", 9, "attacked") is LEARNING


@pytest.mark.parametrize(
    ("fields", "account", "text"),
    [
        (
            {"container.id": "f00", "user.uid": 0, "user.name": "root"},
            "container f00",
            "container f00, user root (uid 0)",
        ),
        ({"container.id": "f00", "user.uid": None}, "container f00", "container f00"),
        ({"container.id": "host", "user.uid": 33, "user.name": "www"}, "user 33", "user www (uid 33)"),
        ({"container.id": None, "user.uid": 33, "user.name": None}, "user 33", "user 33"),
        ({"ka.user.name": "ann"}, "user ann", "user ann"),
        ({}, "", "unknown"),
    ],
)
def test_a_container_or_the_user_outside_has_the_share(fields: dict[str, Value], account: str, text: str) -> None:
    """All users of a container have one, since its root can become any of them."""
    assert (bringer_of(fields), bringer_text(fields)) == (account, text)


def test_records_of_earlier_releases_are_read() -> None:
    """Their values count toward the host, and a group that was full is so for all."""

    def former(host: str, name: str, state: dict[str, Value | bytes]) -> SeenEntry:
        buffer = io.BytesIO(b"\1")
        buffer.seek(1)
        datum = {"owner": "m", "group": [b"g"], "host": host, "touched": 0, "state": (f"lanner.{name}", state)}
        fastavro.schemaless_writer(buffer, _SCHEMA, datum)
        found = decode_record(buffer.getvalue())
        assert isinstance(found, SeenEntry)
        return found

    value = former("web-1", "SeenValue", {"value": b"a", "seen": 9 * DAY, "mark": 5})
    group = former("web-1", "SeenGroup", {"begun": 1, "overflowed": 9 * DAY})
    assert (value.state, group.state) == (SeenValue("a", 9 * DAY, 5), SeenGroup(1, ((EVERYONE, 9 * DAY),)))
    fleet = Fleet()
    for entry in (value, group):
        fleet.known.load(entry.owner, entry.group, entry.host, entry.state)
    assert fleet.see("x", 10, "web-2") is LEARNING
    assert fleet.see("y", 17, "web-2") is True
