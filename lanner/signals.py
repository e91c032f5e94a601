"""Signals as flags that a loop looks at: nothing is done where a signal happens to strike."""

import signal
from types import FrameType
from typing import Self


class Signals:
    """Takes over SIGINT, SIGTERM, SIGHUP and SIGUSR1 for as long as it is entered."""

    def __init__(self) -> None:
        self.stop = False
        self._reload = False
        self._reopen = False
        self._before: dict[int, object] = {}

    def __enter__(self) -> Self:
        for number, handler in (
            (signal.SIGINT, self._on_stop),
            (signal.SIGTERM, self._on_stop),
            (signal.SIGHUP, self._on_reload),
            (signal.SIGUSR1, self._on_reopen),
        ):
            self._before[number] = signal.signal(number, handler)
        return self

    def __exit__(self, *_: object) -> None:
        """Ignore them: what is left is a moment of ending, and a second Ctrl-C must not spoil it."""
        for number in self._before:
            signal.signal(number, signal.SIG_IGN)

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
