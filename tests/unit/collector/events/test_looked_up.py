"""Names of addresses, from what each user of a host looked up."""

from dataclasses import replace

from collector.events import looked_up
from collector.events.looked_up import GRACE, MAX_ADDRESSES, MAX_NAMES, LookedUpNames
from collector.processes.container_names import claimed_container, container_of
from collector.records.dns import DnsAnswer, written
from collector.records.types import Syscall
from tests.unit.collector.calls import WHO, call, sock

SECOND = 10**9
ROOT, ANN, BOB = 0, 1000, 1001
C1, C2 = (f"/system.slice/docker-{digit * 64}.scope" for digit in "12")
EACH = 32
"""Addresses of an answer that names many."""
SERVER = sock(type=2, protocol=17, remote_ip="127.0.0.53", remote_port=53)


def answer(name: str, *addresses: str, uid: int = ANN, time: int = 0) -> Syscall:
    """Return a call that receives an answer with a time to live of a minute. time: s."""
    message = written(DnsAnswer(name, "A", "NOERROR", addresses, seconds=60))
    who = replace(WHO, uid=uid, time=time * SECOND)
    return call("recvfrom", [3], result=len(message), fd=3, socket=SERVER, blob1=message, who=who)


def receive(
    names: LookedUpNames,
    name: str,
    *addresses: str,
    user: str = "ann",
    container: str = "",
    uid: int = ANN,
    time: int = 0,
) -> str | None:
    """Receive an answer. container: its cgroup."""
    return names.receive(answer(name, *addresses, uid=uid, time=time), container_of(container), user)


def of(names: LookedUpNames, address: str, uid: int = ANN, time: int = 0, container: str = "") -> str | None:
    """Return the names of an address for a user at a time, in seconds."""
    asking: Syscall = call("connect", who=replace(WHO, uid=uid, time=time * SECOND))
    reader = names.reader(asking, container_of(container))
    return None if reader is None else reader(address)


def test_the_newest_name_of_an_address_comes_first() -> None:
    """Many names have one address; aliases are followed to the name in the question."""
    names = LookedUpNames()
    assert of(names, "192.0.2.1") is None
    receive(names, "a.example", "edge.example.net", "192.0.2.1", "192.0.2.2")
    receive(names, "b.example", "192.0.2.1")
    assert (of(names, "192.0.2.1"), of(names, "192.0.2.2")) == ("b.example a.example", "a.example")

    receive(names, "a.example", "192.0.2.1")
    assert of(names, "192.0.2.1") == "a.example b.example"
    assert of(names, "192.0.2.3") is None

    for number in range(2 * MAX_NAMES):
        receive(names, f"x{number}.example", "192.0.2.1")
    assert len((of(names, "192.0.2.1") or "").split(" ")) == MAX_NAMES


def test_a_name_counts_for_its_time_to_live_and_some_minutes() -> None:
    """Programs store addresses for longer than they should."""
    names = LookedUpNames()
    receive(names, "a.example", "192.0.2.1", time=100)

    assert of(names, "192.0.2.1", time=160 + GRACE) == "a.example"
    assert of(names, "192.0.2.1", time=161 + GRACE) is None


def test_an_answer_counts_for_whoever_received_it() -> None:
    """A user who answers himself names addresses for nobody else, and no container does for another."""
    names = LookedUpNames()
    receive(names, "good.example", "192.0.2.66", uid=BOB)
    receive(names, "inside.example", "192.0.2.66", uid=ROOT, container=C1)

    assert [of(names, "192.0.2.66", uid=uid) for uid in (ROOT, ANN, BOB)] == [None, None, "good.example"]
    assert of(names, "192.0.2.66", uid=ROOT, container=C1) == "inside.example"
    assert of(names, "192.0.2.66", uid=ROOT, container=C2) is None


def test_what_the_host_s_resolver_receives_counts_for_all() -> None:
    """Programs that ask a daemon by a unix socket receive no answer themselves."""
    names = LookedUpNames()
    receive(names, "a.example", "192.0.2.1", uid=ROOT, user="root")
    receive(names, "b.example", "192.0.2.2", uid=990, user="systemd-resolve")
    receive(names, "c.example", "192.0.2.3", uid=990, user="systemd-resolve", container=C1)

    assert [of(names, f"192.0.2.{last}") for last in (1, 2, 3)] == ["a.example", "b.example", None]
    assert of(names, "192.0.2.1", uid=5, container=C2) == "a.example"


def test_a_user_pushes_out_no_names_but_their_own() -> None:
    """Whoever has most loses the oldest; the ids from 65,536 on may be one user's."""
    names = LookedUpNames()
    receive(names, "a.example", "192.0.2.1")
    for number in range(MAX_ADDRESSES // EACH + 2):
        addresses = [f"10.{number >> 4}.{number & 15}.{last}" for last in range(EACH)]
        receive(names, "b.example", *addresses, uid=100_000 + number % 100)

    assert of(names, "192.0.2.1") == "a.example"
    assert of(names, addresses[-1], uid=131_071) == "b.example"
    assert of(names, "10.0.0.0", uid=131_071) is None
    assert sum(map(len, names._known.values())) == MAX_ADDRESSES


def test_what_a_user_claims_to_be_a_container_is_an_account_of_theirs() -> None:
    """Otherwise each cgroup with such a name would be one more, and its list of users could name a resolver."""
    names = LookedUpNames()
    for number in range(3):
        claimed = claimed_container(f"/user.slice/user-1000.slice/user@1000.service/docker-{number:064x}.scope")
        names.receive(answer(f"{number}.example", "192.0.2.1"), claimed, "systemd-resolve")

    assert of(names, "192.0.2.1") == "2.example 1.example 0.example"
    assert of(names, "192.0.2.1", uid=BOB) is None


def test_a_container_in_a_container_is_one_with_it() -> None:
    """Whoever is root of the outer one makes the inner ones."""
    names = LookedUpNames()
    receive(names, "a.example", "192.0.2.1", container=f"{C1}/docker/{'3' * 64}")

    assert of(names, "192.0.2.1", container=C1) == "a.example"
    assert of(names, "192.0.2.1") is None


def test_what_is_no_answer_is_counted() -> None:
    """From port 53, too short."""
    names = LookedUpNames()
    cut = call(
        "recvfrom", [3], result=30, fd=3, socket=SERVER, blob1=written(DnsAnswer("a.example", "A", "NOERROR"))[:20]
    )

    assert names.receive(cut, None, None) is None
    assert names.unreadable == 1
    assert looked_up.answer_in(replace(cut, result=0)) is None
