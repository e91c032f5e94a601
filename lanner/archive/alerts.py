"""Makes rows of alerts, and alerts of rows; values of any type are JSON, because their names differ by rule."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from lanner.archive.schema import ALERT_TEXTS, ALERT_VALUES, ALERTS, archived_text, restored_text
from schemas.alert import Alert, Repeats, Value, Window


@dataclass(frozen=True, slots=True)
class ArchivedAlert:
    """An alert and the place of its message."""

    alert: Alert
    appended: int
    """The message's timestamp, ms since the epoch."""
    partition: int
    offset: int


def alert_rows(alerts: Sequence[ArchivedAlert]) -> pa.Table:
    """Return the rows of alerts, ordered by host and time."""
    ordered = sorted(alerts, key=lambda each: (each.alert.host_id, each.alert.time, each.partition, each.offset))
    return pa.Table.from_pylist([_row(each) for each in ordered], schema=ALERTS)


def _row(archived: ArchivedAlert) -> dict[str, Any]:
    alert = archived.alert
    row: dict[str, Any] = {name: archived_text(getattr(alert, name)) for name in ALERT_TEXTS}
    row |= {name: getattr(archived, name) for name in ("appended", "partition", "offset")}
    row |= {"time": np.datetime64(alert.time, "ns"), "tags": [archived_text(tag) for tag in alert.tags]}
    row |= {name: _json(dict(getattr(alert, name))) for name in ("output_fields", "event")}
    for name in ("window", "repeats"):
        found = getattr(alert, name)
        row[name] = None if found is None else _json(asdict(found))
    return row


def _json(values: Mapping[str, Any]) -> str:
    return archived_text(json.dumps(values, ensure_ascii=False, separators=(",", ":")))


def restored_alerts(rows: pa.Table) -> Iterator[Alert]:
    """Yield the alerts of rows, in the order in which they were published."""
    order = [("appended", "ascending"), ("partition", "ascending"), ("offset", "ascending")]
    ordered = rows.sort_by(order)
    times = ordered["time"].cast(pa.int64()).to_pylist()
    for row, time in zip(ordered.select([*ALERT_TEXTS, "tags", *ALERT_VALUES]).to_pylist(), times, strict=True):
        facts: dict[str, Any] = {name: restored_text(row[name] or "") for name in ALERT_TEXTS}
        facts |= {"time": time, "tags": tuple(map(restored_text, row["tags"] or ()))}
        facts |= {name: _values(json.loads(restored_text(row[name] or "{}"))) for name in ("output_fields", "event")}
        window, repeats = (json.loads(restored_text(row[name] or "null")) for name in ("window", "repeats"))
        facts["window"] = None if window is None else _window(window)
        facts["repeats"] = None if repeats is None else Repeats(**repeats)
        yield Alert(**facts)


def _values(found: Mapping[str, Any]) -> dict[str, Value]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in found.items()}


def _window(found: dict[str, Any]) -> Window:
    legs = {name: _values(leg) for name, leg in found["legs"].items()}
    return Window(**found | {"group": _values(found["group"]), "values": tuple(found["values"]), "legs": legs})
