"""Write events and alerts to look at in the console: the recorded actions of the demo, as if they were new.

One host did all actions in the last minutes, so that each of its alerts has a story; a small fleet repeated them over
two days, of which only the alerts are written.

console_alerts.py FOLDER
"""

import random
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from lanner.recorder.rolling import ALERTS
from lanner.settings import Settings
from lanner.wiring.rules import load_detection
from processor.evaluator import Evaluator
from processor.hosts.arrival import dated
from schemas.alert import ALERT_SCHEMA, Alert, alert_id, encode_alert
from schemas.batch import EventBatch
from schemas.encoding.batch import encode_batch
from schemas.encoding.recording import RecordingWriter, read_recording

ACTIONS = Path(__file__).parents[2] / "rules" / "acts.avro"
HOSTS = [
    f"{kind}-{number}.example.com"
    for kind, count in (("web", 6), ("db", 3), ("build", 2))
    for number in range(1, count + 1)
]
REPEATED = 3000
FILE = "000000000001.avro"
_NANOSECONDS = 1_000_000_000
_SPAN = 2 * 86_400 * _NANOSECONDS
_AGO = 60 * _NANOSECONDS


def recorded(now: int) -> list[EventBatch]:
    """Return the recorded actions, moved in time to end a minute ago."""
    batches = list(read_recording(ACTIONS))
    step = now - _AGO - max(batch.created for batch in batches)
    moved = (dated(batch, batch.created + step, step)[0] for batch in batches)
    return [replace(batch, host_id=HOSTS[0], hostname=HOSTS[0]) for batch in moved]


def alerts_of(batches: Sequence[EventBatch]) -> list[Alert]:
    """Return the alerts of recorded actions."""
    evaluator = Evaluator(load_detection(Settings(), warnings=False).ruleset)
    return [alert for batch in batches for alert in evaluator.process(batch, batch.created)]


def spread(alerts: list[Alert], now: int) -> Iterator[Alert]:
    """Yield these alerts again and again, on several hosts, up to an hour ago; a few kinds far more often."""
    chance = random.Random(7)  # noqa: S311  no secret is drawn
    weights = [1 / (1 + number) for number in range(len(alerts))]
    for number, ago in enumerate(sorted((chance.random() ** 1.5 for _ in range(REPEATED)), reverse=True)):
        at = now - 60 * _AGO - int(_SPAN * ago)
        host = chance.choice(HOSTS)
        alert = chance.choices(alerts, weights)[0]
        yield replace(alert, id=alert_id(at, "console", number), time=at, hostname=host, host_id=host)


def main() -> None:
    """Write the recording."""
    folder, now = Path(sys.argv[1]), time.time_ns()
    batches = recorded(now)
    alerts = alerts_of(batches)
    (folder / ALERTS).mkdir()
    events = RecordingWriter(folder / FILE)
    for batch in batches:
        events.write(encode_batch(batch))
    events.close()
    writer = RecordingWriter(folder / ALERTS / FILE, ALERT_SCHEMA)
    for alert in (*spread(alerts, now), *alerts):
        writer.write(encode_alert(alert))
    writer.close()


if __name__ == "__main__":
    main()
