"""Signals as flags that a loop looks at: nothing is done where a signal happens to strike."""

import signal
from types import FrameType, TracebackType
from typing import Self

from collector.errors import EnvironmentUnsupported

HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)


class Signals:
    """Takes over SIGINT, SIGTERM, SIGHUP and SIGUSR1 for as long as it is entered."""

    def __init__(self) -> None:
        self.stop = False
        self._reload = False
        self._reopen = False

    def __enter__(self) -> Self:
        handlers = (self._on_stop, self._on_stop, self._on_reload, self._on_reopen)
        for number, handler in zip(HANDLED, handlers, strict=True):
            signal.signal(number, handler)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """Ignore signals from now on: what is left is a moment of ending, and a second Ctrl-C must not spoil it.

        A start that failed because it was to stop is no failure: Ctrl-C reaches the compiler's process as well.
        """
        for number in HANDLED:
            signal.signal(number, signal.SIG_IGN)
        return self.stop and isinstance(error, EnvironmentUnsupported)

    def take_reload(self) -> bool:
        """Tell whether SIGHUP came since the last call."""
        asked, self._reload = self._reload, False
        return asked

    def take_reopen(self) -> bool:
        """Tell whether SIGUSR1 came since the last call."""
        asked, self._reopen = self._reopen, False
        return asked

    def _on_stop(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self.stop = True

    def _on_reload(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self._reload = True

    def _on_reopen(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self._reopen = True
