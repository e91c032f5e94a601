"""How Lanner is a process: signals, notifications to systemd, memory, and what imports take.

Signals become flags that a main loop polls, or a call on an event loop; handlers do nothing else.
"""

import gc
import importlib
import importlib.util
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Self

from foundation.errors import EnvironmentUnsupported

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from ctypes import CDLL

_Handler = Callable[[int, FrameType | None], Any] | int | signal.Handlers | None

_PIPE_BYTES = 1 << 16
HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_LARGE = 128 << 10
_START_SECONDS, _TRIM_SECONDS = 1.0, 60.0
_CONTAINERS = 2_000
_PACKAGE = "confluent_kafka"


class Signals:
    """Handles SIGINT, SIGTERM, SIGHUP and SIGUSR1 while entered."""

    def __init__(self, *, restores: bool = False) -> None:
        """Begin without any signal. restores: put former handlers back at the end, for a command that works on."""
        self._after: dict[signal.Signals, _Handler] = dict.fromkeys(HANDLED, signal.SIG_IGN)
        self._restores = restores
        self._pipe: tuple[int, int] | None = None
        self.stop = False
        self._reload = False
        self._reopen = False

    def __enter__(self) -> Self:
        handlers = (self._on_stop, self._on_stop, self._on_reload, self._on_reopen)
        for number, handler in zip(HANDLED, handlers, strict=True):
            before = signal.signal(number, handler)
            if self._restores:
                self._after[number] = before
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """Ignore these signals from now on, so that a second Ctrl-C can't interrupt the shutdown; or restore handlers.

        Suppress a failed start if the user stopped it: Ctrl-C also kills the compiler's process.
        """
        for number, handler in self._after.items():
            signal.signal(number, handler)
        if self._pipe is not None:
            signal.set_wakeup_fd(-1)
            for end in self._pipe:
                os.close(end)
            self._pipe = None
        return self.stop and isinstance(error, EnvironmentUnsupported)

    @property
    def descriptor(self) -> int:
        """A file descriptor that is readable from the arrival of a signal until drain(), so that it can end a poll(2).

        Without it, a signal that comes right before the call, or to another thread, would wait for the call's timeout.
        """
        if self._pipe is None:
            self._pipe = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
            signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)
        return self._pipe[0]

    def drain(self) -> None:
        """Make the descriptor unreadable; call this before looking at the signals."""
        with suppress(BlockingIOError):
            os.read(self.descriptor, _PIPE_BYTES)

    def take_reload(self) -> bool:
        """Return whether SIGHUP arrived since the last call."""
        requested, self._reload = self._reload, False
        return requested

    def take_reopen(self) -> bool:
        """Return whether SIGUSR1 arrived since the last call."""
        requested, self._reopen = self._reopen, False
        return requested

    def _on_stop(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self.stop = True

    def _on_reload(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self._reload = True

    def _on_reopen(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self._reopen = True


def call_on_stop(loop: "AbstractEventLoop", stop: Callable[[], None]) -> None:
    """Call a function on a loop, which may not run yet, when SIGINT or SIGTERM arrives.

    `loop.add_signal_handler` would lose the signal: it writes to the pipe that also wakes the loop for other threads,
    and a loop that is busy for a short time does not empty it. A few hundred delivery reports fill it.
    """

    def handler(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        # It may be closed by now.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(stop)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handler)


def notify_systemd(state: str) -> None:
    """Send a state, such as READY=1, for services of Type=notify; do nothing without a notify socket.

    Source: sd_notify(3). Each is a datagram to the socket that $NOTIFY_SOCKET names, so no library is needed.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as sender:
        try:
            # A leading @ means the NUL byte of an abstract socket address.
            sender.connect("\0" + address[1:] if address[0] == "@" else address)
            sender.send(state.encode())
        except OSError:
            # A missing or slow supervisor must not stop detection; it notices a missed watchdog by itself.
            return


class Watchdog:
    """Notifies systemd that the main loop is alive, twice per WatchdogSec=."""

    def __init__(self) -> None:
        interval = os.environ.get("WATCHDOG_USEC", "")
        mine = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self._interval = int(interval) / 2e6 if interval.isdigit() and mine else 0.0
        self._next = 0.0

    def beat(self) -> None:
        """Notify systemd if it is due."""
        if self._interval and time.monotonic() >= self._next:
            self._next = time.monotonic() + self._interval
            notify_systemd("WATCHDOG=1")


def keep_memory_small() -> None:
    """Make the C library return freed memory and use one heap for all threads; call before starting threads.

    glibc gives each thread its own heap, and after the first large allocation places larger ones in the heap, where
    later blocks pin them: after a flood a third of a collector's memory was free but resident. Names and defaults:
    mallopt(3). Other C libraries don't need it.
    """
    libc = _c_library()
    if hasattr(libc, "mallopt"):
        for parameter, value in ((_ARENA_MAX, 1), (_MMAP_THRESHOLD, _LARGE), (_TRIM_THRESHOLD, _LARGE)):
            libc.mallopt(parameter, value)


def return_free_memory(first_seconds: float = _START_SECONDS, every_seconds: float = _TRIM_SECONDS) -> None:
    """Make the C library return all freed memory regularly, on a thread, and more often at first: a start leaves 2 MiB.

    A heap shrinks by itself at its end only, and what is in use there keeps resident what is free before it. A
    processor whose threads allocate at the same time also needs a heap for each, since one for all costs a tenth of its
    speed or more, and one whose broker restarts for an hour had 300 MB that were free. Source: malloc_trim(3).
    """
    libc = _c_library()
    is_enabled = gc.isenabled()

    def trim() -> None:
        nonlocal is_enabled
        seconds = first_seconds
        while True:
            time.sleep(seconds)
            if not is_enabled:
                is_enabled = True
                gc.enable()
                gc.collect()
            libc.malloc_trim(0)
            seconds = min(2 * seconds, every_seconds)

    if not hasattr(libc, "malloc_trim"):
        gc.enable()
    else:
        threading.Thread(target=trim, name="malloc-trim", daemon=True).start()


def _c_library() -> "CDLL":
    # Imported here, because commands that end soon need only the signals.
    import ctypes  # noqa: PLC0415

    return ctypes.CDLL(None)


def collect_cycles_rarely() -> None:
    """Make Python search for cyclic garbage after 2,000 new objects instead of 700, and first in return_free_memory().

    Records, processes and events form no cycles, so that reference counts free them. A fifth of the time of a program
    start was spent on searching them, and a tenth of this process's own start, which makes much that stays.
    """
    gc.set_threshold(_CONTAINERS)
    gc.disable()


def hash_without_openssl() -> None:
    """Import `hashlib` and `hmac` without OpenSSL, whose library takes 3.4 MiB; Python has the algorithms itself.

    Both do the same where Python is built without OpenSSL. What needs it, such as TLS and signatures, imports it later.
    Does nothing if a module of OpenSSL was imported before.
    """
    _import_without("_hashlib", "hashlib", "hmac")


def avro_without_snappy() -> None:
    """Import `fastavro` without the library of a compression that Lanner doesn't read or write; it takes 1.5 MiB.

    Does nothing if one of them was imported before.
    """
    _import_without("cramjam", "fastavro")


def _import_without(library: str, *modules: str) -> None:
    if {library, *modules} & set(sys.modules):
        return
    # None makes its import fail. Source: Python's documentation of the import system, "The module cache".
    sys.modules[library] = None  # type: ignore[assignment]
    try:
        for each in modules:
            importlib.import_module(each)
    finally:
        del sys.modules[library]


def import_core() -> None:
    """Import the package with the names of its C module; the first use of any other name imports the rest.

    Does nothing if the package was imported before, or has no such module.
    """
    spec = None if _PACKAGE in sys.modules else importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.loader is None:
        return
    package = importlib.util.module_from_spec(spec)
    sys.modules[_PACKAGE] = package
    try:
        core = importlib.import_module(f"{_PACKAGE}.cimpl")
        # It and `serialization` import each other, which works in this order only.
        importlib.import_module(f"{_PACKAGE}.error")
    except ImportError:
        del sys.modules[_PACKAGE]
        return

    def import_rest(name: str) -> object:
        # From here on, a name that is missing is an error.
        if vars(package).pop("__getattr__", None) is not None and spec.loader is not None:
            spec.loader.exec_module(package)
        return getattr(package, name)

    names = {name: value for name, value in vars(core).items() if not name.startswith("_")}
    vars(package).update(names, __getattr__=import_rest)
