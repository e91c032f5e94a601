"""Builds small event batches from rows that state only what matters to a test."""

from typing import Any

from schemas.batch import (
    EVENT_COLUMNS,
    MISSING_INT,
    STRING_COLUMNS,
    Container,
    EventBatch,
    EventBit,
    Process,
    empty_columns,
)

TIME = 1_795_530_690_479_846_943

INIT = Process(pid=1, name="systemd", exe="/sbin/init", exepath="/usr/lib/systemd/systemd", args=(), cwd="/")

_DEFAULTS = {
    "time": TIME,
    "fd_num": MISSING_INT,
    "vthread": MISSING_INT,
    "local_port": -1,
    "remote_port": -1,
    "bits": int(EventBit.HAS_RES),
}


def batch_of(
    *events: dict[str, Any],
    processes: list[Process] | None = None,
    containers: list[Container] | None = None,
    **header: Any,
) -> EventBatch:
    """Build a batch: an event is its columns by name, text as text; ``args`` maps names to text or (text, number)."""
    strings: list[str | None] = [None]
    columns = empty_columns()

    def text(value: str | None) -> int:
        if value is None:
            return 0
        if value not in strings[1:]:
            strings.append(value)
        return strings.index(value, 1)

    for event in events:
        row = {**_DEFAULTS, **event}
        for name in EVENT_COLUMNS:
            value = row.get(name, 0)
            columns[name].append(
                text(value or None) if name in STRING_COLUMNS and not isinstance(value, int) else value
            )
        for name, value in row.get("args", {}).items():
            shown, number = value if isinstance(value, tuple) else (value, 0)
            columns["arg_name"].append(text(name))
            columns["arg_value"].append(text(shown))
            columns["arg_raw"].append(number)
        columns["arg_start"].append(len(columns["arg_name"]))
    return EventBatch(
        host_id=header.get("host_id", "host-1"),
        hostname=header.get("hostname", "web-3"),
        boot_id=header.get("boot_id", "boot-1"),
        collector_start=header.get("collector_start", 1),
        sequence=header.get("sequence", 7),
        created=TIME,
        collector_version="0.1",
        kernel="6.18",
        first_number=header.get("first_number", 1),
        count=len(events),
        strings=strings,
        processes=processes or [INIT],
        containers=containers or [],
        columns=dict(columns),
    )
