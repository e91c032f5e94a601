"""Reads files of indicators again when they change, on a thread of its own: a million entries take seconds."""

import threading
import time
from collections.abc import Callable, Iterable

from foundation.text import OnNote
from processor.indicators.lists import Contents, IndicatorList
from processor.loading import LoadedIndicators

LOOK_SECONDS = 1.0
_REST = 9
"""The rest after reading, in times that it took: a file that changes all the time takes a tenth of a core."""


class IndicatorFiles:
    """Follows the files of lists on this host; rules use the new entries from the next event on."""

    def __init__(
        self,
        lists: Iterable[LoadedIndicators],
        on_note: OnNote,
        *,
        look_seconds: float = LOOK_SECONDS,
        on_change: Callable[[IndicatorList, Contents], None] = lambda _, __: None,
    ) -> None:
        """Start to follow; without local files, no thread is started.

        lists: of the active rules. on_note: receives a message for each file that was read again, or can't be.
        look_seconds: how often to look for changes. on_change: receives each list that was read again, and what it held
        before.
        """
        self._lists = [each.indicators for each in lists if each.indicators.is_local]
        self._on_note = on_note
        self._look_seconds = look_seconds
        self._on_change = on_change
        self._failed: dict[str, str] = {}
        self._stopped = threading.Event()
        if self._lists:
            threading.Thread(target=self._run, name="lanner-indicators", daemon=True).start()

    def stop(self) -> None:
        """Stop following."""
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.wait(self._look_seconds):
            for each in self._lists:
                name = each.spec.name
                try:
                    if each.has_changed():
                        began = time.thread_time()
                        former = each.contents
                        each.load()
                        self._on_note(f"indicators {name}: {each.text}.", "info")
                        self._failed.pop(name, None)
                        self._on_change(each, former)
                        self._stopped.wait(_REST * (time.thread_time() - began))
                except OSError as error:
                    self._report(name, error.strerror or str(error))
                except Exception as error:  # noqa: BLE001  one list must not end the others
                    self._report(name, str(error) or type(error).__name__)

    def _report(self, name: str, why: str) -> None:
        if self._failed.get(name) != why:
            self._failed[name] = why
            self._on_note(f"indicators {name}: the file can't be read: {why}; its former entries are used.", "warning")
