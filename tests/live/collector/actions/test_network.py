"""Isolation of networks by the kernel's nftables, between containers of the tests' own."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from collector.actions import network
from collector.actions.effect import ActionRefused, TargetGone
from collector.actions.network import NetworkIsolation
from tests.live.collector.actions.container import ADDRESS, PEER, Container, container, intent, joined
from tests.live.needs import lacking

SECOND = 1_000_000_000
_SERVE = """
import socket
server = socket.create_server(("", 7))
print(flush=True)
while True:
    connection = server.accept()[0]
    connection.sendall(b"hello")
"""
_CONNECT = "import socket, sys; print(socket.create_connection((sys.argv[1], 7), 0.4).recv(5).decode())"
_RAW = """
import socket
raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
raw.bind(("e0", 0))
raw.send(b"\\xff" * 12 + b"\\x88\\xb5" + b"x" * 50)
"""


@pytest.fixture(autouse=True)
def _needs_nft() -> None:
    if not any(each.exists() for each in network.NFT):
        lacking("nft is not installed")


@pytest.fixture
def pair() -> Iterator[tuple[Container, Container]]:
    """Connect two containers, each with a server on port 7."""
    with container() as one, container() as other:
        joined(one, other)
        for each in (one, other):
            entered = ("nsenter", "-t", str(each.pid), "-n", sys.executable, "-ISc", _SERVE)
            server = subprocess.Popen(entered, stdout=subprocess.PIPE)
            each.others.append(server)
            assert server.stdout is not None
            server.stdout.readline()
        yield one, other


def reaches(one: Container, address: str) -> bool:
    """Return whether a server answers."""
    return one.inside(sys.executable, "-ISc", _CONNECT, address).stdout == "hello\n"


def drops(one: Container, chain: str, family: str = "inet") -> int:
    """Return how many packets a chain has dropped."""
    words = one.inside("nft", "list", "chain", family, network.TABLE, chain).stdout.split()
    return int(words[words.index("packets") + 1])


def test_an_isolated_container_has_loopback_only_until_it_is_released(pair: tuple[Container, Container]) -> None:
    """Both directions are cut, raw packets as well, and what is released is as before."""
    one, other = pair
    actions, what = NetworkIsolation(), intent("isolate", "container", container_id=one.id)
    assert reaches(one, PEER)
    assert reaches(other, ADDRESS)

    effect = actions.do(what)

    assert effect.text == "isolated the network of the container; only loopback is left"
    assert not reaches(one, PEER)
    assert not reaches(other, ADDRESS)
    assert reaches(one, "127.0.0.1")
    assert drops(one, "incoming") > 0
    assert drops(one, "outgoing") > 0
    before = drops(one, "leaving", "netdev")
    assert one.inside(sys.executable, "-ISc", _RAW).returncode == 1
    assert drops(one, "leaving", "netdev") == before + 1

    assert actions.do(what).text == effect.text
    assert actions.undo(what, effect.undo) == "released its network"
    assert actions.undo(what, effect.undo) == "its network was released already"
    assert reaches(one, PEER)
    assert one.inside("nft", "list", "ruleset").stdout == ""


def test_an_existing_connection_is_cut(pair: tuple[Container, Container]) -> None:
    """Connection tracking has accepted it before, and it doesn't matter."""
    one, _ = pair
    code = (
        "import socket, sys, time; s = socket.create_connection((sys.argv[1], 7), 1); s.recv(5); print(flush=True);"
        "sys.stdin.readline(); s.sendall(b'secret'); time.sleep(9)"
    )
    entered = ("nsenter", "-t", str(one.pid), "-n", sys.executable, "-ISc", code, PEER)
    client = subprocess.Popen(entered, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    one.others.append(client)
    assert client.stdout is not None
    assert client.stdin is not None
    client.stdout.readline()
    NetworkIsolation().do(intent("isolate", "container", container_id=one.id))
    before = drops(one, "outgoing")
    client.stdin.write(b"\n")
    client.stdin.flush()
    _until(lambda: drops(one, "outgoing") > before)


def test_it_ends_by_itself_and_can_last_longer(pair: tuple[Container, Container]) -> None:
    """Nothing of Lanner has to run for that."""
    one, _ = pair
    actions, what = NetworkIsolation(), intent("isolate", "container", container_id=one.id, lease=SECOND)
    effect = actions.do(what)
    actions.extend(what, effect.undo, 3600 * SECOND)
    listed = one.inside("nft", "list", "set", "inet", network.TABLE, "lease").stdout
    assert "expires 59m" in listed
    actions.extend(what, effect.undo, 1)
    assert not reaches(one, PEER)
    _until(lambda: reaches(one, PEER))
    assert actions.undo(what, effect.undo) == "released its network"


def test_what_is_reachable_stays_so(pair: tuple[Container, Container]) -> None:
    """A network of the settings, of either version."""
    one, other = pair
    what = intent("isolate", "container", container_id=one.id)
    effect = NetworkIsolation(["10.99.0.2", "2001:db8::/32"]).do(what)
    assert "reachable: 10.99.0.2/32, 2001:db8::/32" in effect.text
    assert reaches(one, PEER)
    assert reaches(other, ADDRESS)


def test_another_action_neither_shortens_nor_lifts_an_isolation() -> None:
    """The table states whose it is, and a namespace's number may be that of a later one."""
    with container() as one:
        actions = NetworkIsolation()
        first, second = (intent("isolate", "container", container_id=one.id, identifier=each) for each in ("1", "{}; "))
        effect = actions.do(first)
        with pytest.raises(ActionRefused, match="another action isolates this network already"):
            actions.do(second)
        assert actions.undo(second, effect.undo) == "its network was released already"
        assert actions.undo(first, effect.undo) == "released its network"
        assert actions.undo(second, actions.do(second).undo) == "released its network"


def test_name_servers_of_a_hostile_container_are_not_reached(tmp_path: Path) -> None:
    """It could name its own master; only private addresses count, and garbage is left out."""
    text = "nameserver 8.8.8.8\nnameserver 10.96.0.10 # x\nnameserver ::1\nnameserver 10.0.0.1;drop\nnameserver\n\xff\0"
    (tmp_path / "resolv.conf").write_text(text + "nameserver 10.1.1.1\n" * 99)
    with container() as one:
        one.inside("mount", "--bind", str(tmp_path), "/etc", namespaces="-m")
        what = intent("isolate", "container", container_id=one.id)
        done = NetworkIsolation(reach_dns=True).do(what).text
    assert "name server 10.96.0.10" in done
    assert "8.8.8.8" not in done.replace(_host_servers(), "")


def _host_servers() -> str:
    try:
        return Path("/etc/resolv.conf").read_text().partition("nameserver ")[2].split()[0]
    except (OSError, IndexError):
        return "none"


@pytest.mark.parametrize(
    ("options", "capabilities", "reason"),
    [
        (("-u",), "-net_admin", "it uses the host's network, so only the host can be isolated"),
        (("-n",), "", "may have CAP_NET_ADMIN and could lift the isolation: freeze the container instead"),
    ],
)
def test_what_could_be_lifted_or_would_hit_more_is_refused(
    options: tuple[str, ...], capabilities: str, reason: str
) -> None:
    """An action does what it states or nothing."""
    with container(*options, capabilities=capabilities) as one, pytest.raises(ActionRefused, match=reason):
        NetworkIsolation().do(intent("isolate", "container", container_id=one.id))


def test_an_id_that_two_containers_claim_is_refused() -> None:
    """Both were created by root of the host, so neither is more credible."""
    with container() as one, container(container_id=one.id, parent="libpod_parent"), pytest.raises(ActionRefused) as no:
        NetworkIsolation().do(intent("isolate", "container", container_id=one.id))
    assert "two containers claim this id: /docker/" in str(no.value)


def test_a_container_that_ended_is_gone() -> None:
    """Before the action, and before it is undone."""
    actions = NetworkIsolation()
    with container() as one:
        what = intent("isolate", "container", container_id=one.id)
        effect = actions.do(what)
    with pytest.raises(TargetGone, match="no process any more"):
        actions.do(what)
    with pytest.raises(TargetGone, match="no process any more"):
        actions.extend(what, effect.undo, SECOND)
    with pytest.raises(TargetGone, match="no longer exists"):
        actions.undo(what, effect.undo)


def test_what_this_host_lacks_is_stated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No nft, an nft that fails, and a setting that is no network."""
    with pytest.raises(ActionRefused, match=r"10\.0\.0\.0; drop is no network such as"):
        NetworkIsolation(["10.0.0.0; drop"])
    with container() as one:
        what = intent("isolate", "container", container_id=one.id)
        monkeypatch.setattr(network, "NFT", (Path("/nowhere/nft"),))
        with pytest.raises(ActionRefused, match="install the package nftables"):
            NetworkIsolation().do(what)
        broken = tmp_path / "nft"
        broken.write_text("#!/bin/sh\necho 'Error: Could not process rule: Operation not supported' >&2; exit 1\n")
        broken.chmod(0o755)
        monkeypatch.setattr(network, "NFT", (broken,))
        with pytest.raises(ActionRefused, match="Operation not supported; is the kernel's module nf_tables there"):
            NetworkIsolation().do(what)


def test_an_isolated_host_reaches_its_brokers(pair: tuple[Container, Container]) -> None:
    """One container plays the host: the first process of its /proc has another network than this machine."""
    one, other = pair
    assert one.inside("mount", "-t", "proc", "proc", "/proc", namespaces="-m -p").returncode == 0
    code = (
        "from tests.live.collector.actions.container import intent; from collector.actions.network import *;"
        f"what, brokers = intent('isolate', 'host'), [({PEER!r}, 7)];"
        "action = NetworkIsolation(brokers=lambda: [brokers.pop()]); effect = action.do(what); print(effect.text);"
        "action.extend(what, effect.undo, 10**12)"
    )
    done = one.inside(*("env", f"--chdir={Path.cwd()}", sys.executable, "-c", code), namespaces="-m -p -n")
    assert done.stdout == "isolated the network of the host; reachable: the brokers\n", done.stderr
    assert reaches(one, PEER)
    assert not reaches(other, ADDRESS)
    assert one.inside(sys.executable, "-ISc", _CONNECT.replace("7", "8"), PEER).stdout == ""
    assert drops(one, "incoming") > 0


def _until(is_met: Callable[[], bool]) -> None:
    for _ in range(200):
        if is_met():
            return
        time.sleep(0.05)
    pytest.fail("it never happened")
