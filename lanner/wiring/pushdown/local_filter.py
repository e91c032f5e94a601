"""What this host's own rule files ask a collector for, found out by a process of its own.

Reading and compiling rules takes 15 MiB that a collector would keep and never need again.
"""

import os
import pickle
import signal
import sys

from lanner.errors import BadInput
from lanner.settings import Settings
from schemas.filter import PushdownFilter


def own_interest(settings: Settings, *, warnings: bool) -> PushdownFilter:
    """Give the interest of the rule files that the settings name; call it before there are threads.

    Args:
        settings: of this process.
        warnings: print the rules' warnings.

    Raises:
        BadInput: with all that is wrong with the rules.
    """
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _answer(writing, settings, warnings=warnings)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        data = pipe.read()
    _, status = os.waitpid(child, 0)
    if not data:
        end = os.waitstatus_to_exitcode(status)
        what = f"was ended by signal {signal.Signals(-end).name}" if end < 0 else f"ended with exit code {end}"
        raise BadInput(f"the rules could not be read: the process that reads them {what}.")
    answer = pickle.loads(data)  # noqa: S301  our own child wrote it
    if isinstance(answer, PushdownFilter):
        return answer
    raise BadInput(*answer)


def _answer(writing: int, settings: Settings, *, warnings: bool) -> None:
    """Write the interest, or the messages of what is wrong, and end."""
    status = 1
    try:
        from lanner.ruleset.compile import load_detection  # noqa: PLC0415  this process alone is to hold it

        answer: PushdownFilter | tuple[str, ...]
        try:
            answer = load_detection(settings, warnings=warnings).interest
        except BadInput as error:
            answer = error.messages
        with os.fdopen(writing, "wb") as pipe:
            pickle.dump(answer, pipe)
        sys.stdout.flush()
        sys.stderr.flush()
        status = 0
    finally:
        # Nothing of the parent's may be put away a second time.
        os._exit(status)
