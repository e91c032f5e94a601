"""Writes single arguments of made-up calls."""

from typing import Any

from collector.events.arguments import NAMES, WRITERS
from collector.events.system_calls import BY_EVENT
from collector.events.texts import Context, describe
from collector.records.types import Syscall
from schemas.batch import Process

PROCESS = Process(
    pid=10, ppid=9, vpid=1, name="bash", exe="-bash", exepath="/bin/bash", args=("-c", "id"), cwd="/root", uid=0, gid=0
)
NOT_KNOWN = (None, 0)


def written(made: Syscall, event: str, name: str, **context: Any) -> tuple[str | None, int]:
    """Write one argument of a call: text and number."""
    index = NAMES[BY_EVENT[event].number].index(name)
    values: dict[str, Any] = {
        "process": PROCESS,
        "descriptor": describe(event, made),
        "path1": made.path1,
        "path2": made.path2,
        "user_name": {0: "root", 33: "www-data"}.get,
        "group_name": {0: "root", 8: "mail"}.get,
        "time": 10**18,
        **context,
    }
    return WRITERS[BY_EVENT[event].number][index](made, Context(**values))
