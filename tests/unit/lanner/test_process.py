import asyncio
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from lanner.process import HANDLED, Signals, Watchdog, call_on_stop, notify_systemd

WAKE_UPS = 2000
"""More than fit into the pipe by which other threads wake a loop."""


@pytest.fixture(autouse=True)
def _handlers() -> object:
    """Restore the handlers of the test process."""
    before = {number: signal.getsignal(number) for number in HANDLED}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_second_signal_does_not_interrupt_a_shutdown() -> None:
    """It is ignored once the work has ended."""
    with Signals() as signals:
        signal.raise_signal(signal.SIGINT)

    assert signals.stop
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_a_command_that_works_on_can_be_stopped_again() -> None:
    """The handlers of before are back, also after a signal."""
    before = signal.getsignal(signal.SIGINT)

    with Signals(restores=True) as signals:
        signal.raise_signal(signal.SIGINT)

    assert signals.stop
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_not_lost_while_the_loop_is_busy(number: signal.Signals) -> None:
    """Other threads wake the loop hundreds of times before it looks."""

    async def stopped() -> None:
        loop, stopping = asyncio.get_running_loop(), asyncio.Event()
        call_on_stop(loop, stopping.set)

        def wake() -> None:
            for _ in range(WAKE_UPS):
                loop.call_soon_threadsafe(lambda: None)
            os.kill(os.getpid(), number)

        thread = threading.Thread(target=wake)
        thread.start()
        # The loop is busy until all that has happened.
        thread.join()
        async with asyncio.timeout(5):
            await stopping.wait()

    asyncio.run(stopped())


def test_a_signal_after_the_end_is_ignored() -> None:
    """The loop is closed by then."""
    loop = asyncio.new_event_loop()
    call_on_stop(loop, lambda: None)
    loop.close()
    os.kill(os.getpid(), signal.SIGTERM)


def test_a_signal_ends_a_wait_of_the_main_loop() -> None:
    """Also one that another thread receives, until the loop has looked at the signals."""
    with Signals(restores=True) as signals:
        poll = select.poll()
        poll.register(signals.descriptor, select.POLLIN)

        assert not poll.poll(0)
        for _ in range(2):
            thread = threading.Thread(target=lambda: signal.pthread_kill(threading.get_ident(), signal.SIGHUP))
            thread.start()
            assert poll.poll(20_000)
            thread.join()
            signals.drain()
            assert signals.take_reload()
            assert not poll.poll(0)

    assert signal.set_wakeup_fd(-1) == -1


def test_states_go_to_the_socket_that_systemd_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """READY=1 arrives as one datagram, by path and by abstract address."""
    for address, name in ((str(tmp_path / "notify"),) * 2, ("\0lanner-test", "@lanner-test")):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
            systemd.bind(address)
            monkeypatch.setenv("NOTIFY_SOCKET", name)
            notify_systemd("READY=1")
            assert systemd.recv(100) == b"READY=1"


def test_without_systemd_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing or closed socket is not an error."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify_systemd("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", "/nonexistent/socket")
    notify_systemd("READY=1")


def test_the_watchdog_beats_at_half_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It notifies at half of WatchdogSec, and only for the process that systemd names."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "100000")
        monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
        watchdog = Watchdog()
        for _ in range(3):
            watchdog.beat()
        assert systemd.recv(100) == b"WATCHDOG=1"
        with pytest.raises(BlockingIOError):
            systemd.recv(100)
        time.sleep(0.06)
        watchdog.beat()
        assert systemd.recv(100) == b"WATCHDOG=1"

        monkeypatch.setenv("WATCHDOG_PID", "1")
        Watchdog().beat()
        with pytest.raises(BlockingIOError):
            systemd.recv(100)


ACT = """
import ctypes, sys, time
from lanner.process import keep_memory_small, return_free_memory
if sys.argv[1] == "small":
    keep_memory_small()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
libc.free(libc.malloc(4 << 20))
pieces = []
for _ in range(64):
    pieces.append(libc.malloc(1 << 20))
    ctypes.memset(pieces[-1], 1, 1 << 20)
    libc.malloc(4096)
for piece in pieces:
    libc.free(piece)
if sys.argv[1] == "regularly":
    return_free_memory(0.1)
    time.sleep(1)
print(int(open("/proc/self/statm").read().split()[1]) * 4 // 1024)
"""


@pytest.mark.parametrize(("variant", "is_given_back"), [("small", True), ("regularly", True), ("as ever", False)])
def test_large_pieces_are_given_back_though_small_ones_lie_between(variant: str, *, is_given_back: bool) -> None:
    """Otherwise the 64 MiB of a flood would stay resident permanently."""
    done = subprocess.run([sys.executable, "-c", ACT, variant], capture_output=True, text=True, check=True, timeout=30)

    assert (int(done.stdout) < 60) is is_given_back


def test_cyclic_garbage_is_still_collected() -> None:
    """A search that comes less often must still come, first when the start is over."""
    act = (
        "import gc, time, weakref\n"
        "from lanner.process import collect_cycles_rarely, return_free_memory\n"
        "collect_cycles_rarely(); return_free_memory(0.5)\n"
        "class Node: pass\n"
        "def gone(): node = Node(); node.itself = node; return weakref.ref(node)\n"
        "first = gone(); kept = [[] for _ in range(30000)]; print(first() is None)\n"
        "while first(): time.sleep(0.05)\n"
        "second = gone(); kept = [[] for _ in range(1000)]; before = second() is None\n"
        "kept = [[] for _ in range(30000)]; print(before, second() is None)\n"
    )
    done = subprocess.run([sys.executable, "-c", act], capture_output=True, text=True, check=True, timeout=30)

    assert done.stdout == "False\nFalse True\n"


def test_digests_need_no_openssl_until_something_else_does() -> None:
    """Its library takes 3.4 MiB; the digests are the same, and what needs it can import it later."""
    act = (
        "import sys\n"
        "from lanner.process import hash_without_openssl\n"
        "hash_without_openssl()\n"
        "import hashlib, hmac, secrets, random, uuid, tempfile\n"
        "own = [hashlib.sha256(b'x').digest(), hmac.digest(b'k', b'm', 'sha256'), hashlib.new('md5', b'x').digest()]\n"
        "print('libcrypto' in open('/proc/self/maps').read())\n"
        "import _hashlib\n"
        "other = [_hashlib.openssl_sha256(b'x').digest(), _hashlib.hmac_digest(b'k', b'm', 'sha256')]\n"
        "print(own == [*other, _hashlib.openssl_md5(b'x').digest()])\n"
    )
    done = subprocess.run([sys.executable, "-c", act], capture_output=True, text=True, check=True, timeout=30)

    assert done.stdout == "False\nTrue\n"


def test_avro_is_read_and_written_without_the_library_of_snappy() -> None:
    """It takes 1.5 MiB; what needs it can import it later."""
    act = (
        "import io, sys\n"
        "from lanner.process import avro_without_snappy\n"
        "avro_without_snappy()\n"
        "import fastavro\n"
        "file, schema = io.BytesIO(), {'type': 'record', 'name': 'r', 'fields': [{'name': 'a', 'type': 'int'}]}\n"
        "fastavro.writer(file, schema, [{'a': 1}], codec='deflate')\n"
        "file.seek(0)\n"
        "print('cramjam' in sys.modules, list(fastavro.reader(file)))\n"
        "import cramjam\n"
    )
    done = subprocess.run([sys.executable, "-c", act], capture_output=True, text=True, check=True, timeout=30)

    assert done.stdout == "False [{'a': 1}]\n"


def run(program: str) -> str:
    """Run a program in a new interpreter and return what it prints."""
    start = "import sys\nfrom lanner.process import import_core\n"
    done = subprocess.run([sys.executable, "-c", start + program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_collector_imports_no_asyncio() -> None:
    """It takes 2 MiB of memory, and the Kafka client imports it."""
    modules = "collector.publishing.publisher, lanner.wiring.stages.collector, lanner.wiring.stages.fleet_collector"
    operations = "lanner.operations.server, lanner.operations.exposition, lanner.operations.collector"

    assert run(f"import_core()\nimport {modules}, {operations}\nprint('asyncio' in sys.modules)") == "False"


@pytest.mark.parametrize(
    "use",
    [
        "from confluent_kafka import ThrottleEvent as whole",
        "import confluent_kafka\nwhole = confluent_kafka.TopicCollection",
        "from confluent_kafka.admin import AdminClient as whole",
        "from confluent_kafka.schema_registry import Schema as whole",
    ],
)
def test_what_is_not_imported_at_first_is_when_it_is_used(use: str) -> None:
    """The classes are the same ones."""
    program = f"import_core()\nfrom confluent_kafka import Producer as early\n{use}\nimport confluent_kafka\n"

    assert run(f"{program}print(whole.__name__, confluent_kafka.Producer is early)").endswith("True")


def test_a_name_that_does_not_exist_is_reported_as_ever() -> None:
    """Whatever was imported before."""
    program = "import_core()\nimport confluent_kafka\nprint([hasattr(confluent_kafka, 'Nothing') for _ in range(2)])"

    assert run(program) == "[False, False]"


def test_what_is_imported_already_stays() -> None:
    """Its classes are in use."""
    assert run(
        "import confluent_kafka as before\nimport_core()\nimport confluent_kafka\nprint(before is confluent_kafka)"
    )
