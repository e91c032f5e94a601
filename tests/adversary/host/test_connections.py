"""A program tries to connect without a rule on connect seeing it, or to make it see another address."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from schemas.alert import Alert
from tests.live.compiled import Programs
from tests.live.needs import io_uring, lacking
from tests.live.watching import Watch

pytestmark = pytest.mark.live

RULES = """
- rule: Outgoing connection
  desc: As Falco's rules ask for one.
  condition: >
    evt.type = connect and fd.type in (ipv4, ipv6) and fd.l4proto = tcp and fd.net = 127.0.0.0/8
    and (evt.rawres >= 0 or evt.res = EINPROGRESS)
  output: "%evt.type"
  priority: WARNING
- rule: Refused connection
  desc: One that failed.
  condition: evt.type = connect and fd.l4proto = tcp and evt.res = ECONNREFUSED
  output: "%evt.type"
  priority: WARNING
"""
MULTIPATH = 262
_used: set[int] = set()


@pytest.fixture(scope="module")
def watch(bytecode: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watch]:
    """Watch this machine with rules on connect alone, including the kernel's filter."""
    folder = tmp_path_factory.mktemp("rules")
    (folder / "rules.yaml").write_text(RULES, encoding="utf-8")
    with Watch(folder / "no-docker.sock", bytecode, rules=[folder / "rules.yaml"]) as watching:
        yield watching


def new_port() -> socket.socket:
    """Return a socket with a port that no earlier test had: alerts are found by it."""
    while True:
        bound = socket.socket()
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        if port not in _used:
            _used.add(port)
            return bound
        bound.close()


@contextmanager
def server(*, is_full: bool) -> Iterator[socket.socket]:
    """Yield a listening server; a full one answers nobody until it accepts."""
    with new_port() as listening, socket.socket() as waiting:
        listening.listen(0 if is_full else 9)
        listening.settimeout(20)
        if is_full:
            waiting.connect(listening.getsockname())
        yield listening


def connections_to(watch: Watch, port: int) -> list[Alert]:
    """Return the alerts about connections to a port by other processes than this one, once all have come."""
    watch.settle()
    return [alert for alert in watch.ours if alert.event["fd.rport"] == port]


def connect(program: str, how: str, port: int) -> "subprocess.Popen[str]":
    """Start connecting."""
    return subprocess.Popen([program, how, str(port)], stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("how", ["interrupted", "timed", "killed", "replaced", "changed"])
@pytest.mark.parametrize("bits", [64, 32])
def test_a_connection_that_a_signal_interrupts_is_seen(watch: Watch, programs: Programs, how: str, bits: int) -> None:
    """The first packet is out, whatever becomes of the call, its descriptor, its address or its process."""
    with server(is_full=True) as full, connect(programs("connects", bits=bits), how, full.getsockname()[1]) as program:
        program.wait(10)

        (alert,) = connections_to(watch, full.getsockname()[1])

    assert alert.event["evt.res"] == "EINPROGRESS"
    assert str(alert.event["fd.name"]).endswith(f"->127.0.0.1:{alert.event['fd.rport']}")


@pytest.mark.parametrize("how", ["restarted", "repeated"])
def test_a_connection_that_is_restarted_is_one(watch: Watch, programs: Programs, how: str) -> None:
    """The kernel restarts the call again and again, or the program does."""
    with server(is_full=True) as full, connect(programs("connects"), how, full.getsockname()[1]) as program:
        with pytest.raises(subprocess.TimeoutExpired):
            program.wait(0.5)
        full.accept()
        full.accept()
        program.wait(20)

        (alert,) = connections_to(watch, full.getsockname()[1])

    assert alert.event["evt.res"] == "EINPROGRESS"


@pytest.mark.parametrize("how", ["sendto", "sendmsg", "sendmmsg"])
@pytest.mark.parametrize("bits", [64, 32])
def test_sending_with_fast_open_is_connecting(watch: Watch, programs: Programs, how: str, bits: int) -> None:
    """Rules on connect see it, although nobody calls connect."""
    with (
        server(is_full=False) as ready,
        connect(programs("connects", bits=bits), how, ready.getsockname()[1]) as program,
    ):
        assert program.communicate()[0] == "0\n"
        assert ready.accept()[0].recv(9) == b"x"

        (alert,) = connections_to(watch, ready.getsockname()[1])

    assert alert.event["evt.type"] == "connect"
    assert alert.event["fd.num"] == 3


@pytest.mark.parametrize("how", ["plain", "polled", "worker", "linked", "untold", "overflow"])
def test_sending_with_fast_open_by_io_uring_is_connecting(watch: Watch, programs: Programs, how: str) -> None:
    """There is no system call, and only the request's flags show it."""
    io_uring()
    with server(is_full=False) as ready:
        command = [programs("io_uring_acts", static=True), how, "fast-open", str(ready.getsockname()[1])]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        ready.accept()

        (alert,) = connections_to(watch, ready.getsockname()[1])

    assert alert.event["evt.io_uring"] is True


@pytest.mark.parametrize("how", ["plain", "deferred", "multipath"])
def test_connecting_is_one_event(watch: Watch, programs: Programs, how: str) -> None:
    """Also if the first packet waits for data, or the protocol may use several paths."""
    with server(is_full=False) as ready:
        if how == "multipath":
            try:
                socket.socket(socket.AF_INET, socket.SOCK_STREAM, MULTIPATH).close()
            except OSError:
                lacking("this kernel has no Multipath TCP")
        with connect(programs("connects"), how, ready.getsockname()[1]) as program:
            program.wait(10)

        (alert,) = connections_to(watch, ready.getsockname()[1])

    assert alert.event["evt.res"] == "SUCCESS"


def test_a_refused_connection_shows_where_it_should_have_gone(watch: Watch, programs: Programs) -> None:
    """The socket has lost its address by then, and the program's memory may hold another one."""
    with server(is_full=False) as closing:
        port = closing.getsockname()[1]
    with connect(programs("connects"), "plain", port) as program:
        program.wait(10)

    (alert,) = connections_to(watch, port)

    assert (alert.rule, alert.event["fd.rip"]) == ("Refused connection", "127.0.0.1")
