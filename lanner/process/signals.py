"""Signals as flags that a main loop polls, or as a call on an event loop; handlers do nothing else."""

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Self

from foundation.errors import EnvironmentUnsupported

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop


_Handler = Callable[[int, FrameType | None], Any] | int | signal.Handlers | None

_PIPE_BYTES = 1 << 16
HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)


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
