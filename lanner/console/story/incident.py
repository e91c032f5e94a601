"""An incident as one file: a recording of the events around an alert, with its alerts and facts in the file's header.

`lanner replay` and `lanner rules test --from` read it as they read any recording. Secrets are masked as in alerts.
"""

import json
import tempfile
from collections import deque
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from lanner.console.store.rows import time_text
from lanner.errors import BadInput
from lanner.recorder.budget import ReadBudget
from lanner.recorder.context import TimelineRange
from lanner.recorder.recording import INCIDENT
from lanner.recorder.store import Reading, StoredBatch
from processor.output.redaction import Redaction
from schemas.alert import Alert
from schemas.batch import Container, EventBatch, Process
from schemas.encoding.batch import encode_batch
from schemas.encoding.recording import RecordingWriter

Labels = tuple[tuple[str, str], ...]
MAX_BYTES = 32 << 20
_EARLIER = 20_000_000_000
"""ns; batches state every 15 s what is collected."""


class NothingToExport(BadInput):
    """No events of the time are retained."""


def incident_file(
    alerts: Sequence[Alert],
    batches: Reading[StoredBatch],
    window: TimelineRange,
    redaction: Redaction,
    budget: ReadBudget,
) -> bytes:
    """Return the file. Raises NothingToExport if no events of that time are retained.

    alerts: that of the incident first, then others of its time; batches: of its host, in order, closed at the end.
    """
    before: deque[bytes] = deque()
    after: list[bytes] = []
    facts: dict[str, Any] = {"rules": set(), "hosts": set()}
    held, left, is_cut = 0, MAX_BYTES // 2, False
    with closing(batches):
        for stored in batches:
            budget.take(stored)
            batch = stored.batch
            times = batch.columns["time"]
            if budget.is_spent() or (times and min(times) > window.end):
                break
            if (max(times) if batch.count else batch.created) < window.start - _EARLIER:
                continue
            facts["rules"] |= {each for each in (batch.rules_version, batch.interest_version) if each}
            facts["hosts"].add(batch.hostname)
            data = encode_batch(redacted_batch(batch, redaction))
            if not times or min(times) <= window.alert:
                before.append(data)
                held += len(data)
                while held > MAX_BYTES // 2 and len(before) > 1:
                    held -= len(before.popleft())
                    is_cut = True
            elif len(data) <= left:
                after.append(data)
                left -= len(data)
            else:
                is_cut = True
                break
    if not before and not after:
        raise NothingToExport("no events of this time are retained, so there is nothing to export.")
    remark = "Events furthest from the alert were left out: the file has at most 32 MiB." if is_cut else budget.remark()
    header = {
        "alerts": [asdict(redaction.alert(alert)) for alert in alerts],
        "rules_versions": sorted(facts["rules"]),
        "hosts": sorted(facts["hosts"]),
        "since": time_text(window.start // 1000),
        "until": time_text(window.end // 1000),
        "remark": remark,
    }
    return _written([*before, *after], json.dumps(header))


def redacted_batch(batch: EventBatch, redaction: Redaction) -> EventBatch:
    """Return a batch with masked secrets: in the texts of its events, and in what processes and containers state."""
    return replace(
        batch,
        strings=[None if text is None else redaction.text(text) for text in batch.strings],
        processes=[_process(process, redaction) for process in batch.processes],
        containers=[_container(container, redaction) for container in batch.containers],
    )


def _process(process: Process, redaction: Redaction) -> Process:
    def text(value: str | None) -> str | None:
        return None if value is None else redaction.text(value)

    arguments, environment = process.args, process.env
    if arguments is not None:
        # An option may be one argument, and its secret the next.
        joined = "\n".join(("", *arguments))
        masked = redaction.text(joined)
        arguments = arguments if masked == joined else tuple(masked.split("\n")[1:])
    if environment is not None:
        environment = tuple(map(redaction.text, environment))
    return replace(
        process,
        name=text(process.name),
        exe=text(process.exe),
        exepath=text(process.exepath),
        cwd=text(process.cwd),
        args=arguments,
        env=environment,
    )


def _container(container: Container, redaction: Redaction) -> Container:
    def masked(labels: Labels | None) -> Labels | None:
        if labels is None:
            return None
        return tuple((key, redaction.text(f"{key}={value}").partition("=")[2]) for key, value in labels)

    return replace(container, labels=masked(container.labels), pod_labels=masked(container.pod_labels))


def _written(batches: Sequence[bytes], header: str) -> bytes:
    with tempfile.TemporaryDirectory(prefix="lanner-incident-") as folder:
        path = Path(folder) / "incident.avro"
        writer = RecordingWriter(path, metadata={INCIDENT: header})
        for data in batches:
            writer.write(data)
        writer.close()
        return path.read_bytes()
