"""Derives the filter of this host's rule files in a child process.

Reading and compiling rules takes 15 MiB, which the collector would hold but never need again.
"""

import os
import pickle
import signal
import sys

from lanner.errors import BadInput
from lanner.settings import LoadedSettings
from schemas.filter import PushdownFilter


def own_filter(loaded: LoadedSettings, *, warnings: bool) -> PushdownFilter:
    """Check the collector's settings, and return the filter of its rule files; call it before threads are started.

    Args:
        loaded: the settings.
        warnings: whether to print the rules' warnings.

    Raises:
        BadInput: With all errors in settings and rules.
    """
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _answer(writing, loaded, warnings=warnings)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        data = pipe.read()
    _, status = os.waitpid(child, 0)
    if not data:
        end = os.waitstatus_to_exitcode(status)
        what = f"was killed by signal {signal.Signals(-end).name}" if end < 0 else f"exited with code {end}"
        raise BadInput(f"the rules could not be read: the process that reads them {what}.")
    answer = pickle.loads(data)  # noqa: S301  our own child wrote it
    if isinstance(answer, PushdownFilter):
        return answer
    raise BadInput(*answer)


def _answer(writing: int, loaded: LoadedSettings, *, warnings: bool) -> None:
    """Write the filter, or the error messages, and exit."""
    status = 1
    try:
        from lanner.wiring.check import check_settings  # noqa: PLC0415  only the child loads it

        answer: PushdownFilter | tuple[str, ...]
        try:
            detection = check_settings(loaded, "collector", warnings=warnings)
            assert detection is not None  # noqa: S101  a collector needs rules
            answer = detection.pushdown_filter
        except BadInput as error:
            answer = error.messages
        with os.fdopen(writing, "wb") as pipe:
            pickle.dump(answer, pipe)
        sys.stdout.flush()
        sys.stderr.flush()
        status = 0
    finally:
        # Don't run the parent's exit handlers a second time.
        os._exit(status)
