"""Write alerts to look at in the console: those of the recorded actions, over the last two days of a small fleet.

console_alerts.py FILE
"""

import random
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from lanner.ruleset.compile import load_detection
from lanner.settings import Settings
from processor.evaluator import Evaluator
from schemas.alert import ALERT_SCHEMA, Alert, alert_id, encode_alert
from schemas.encoding.recording import RecordingWriter, read_recording

ACTS = Path(__file__).parents[2] / "rules" / "acts.avro"
HOSTS = [
    f"{kind}-{number}.example.com"
    for kind, count in (("web", 6), ("db", 3), ("build", 2))
    for number in range(1, count + 1)
]
ALERTS = 3000
_NANOSECONDS = 1_000_000_000
_SPAN = 2 * 86_400 * _NANOSECONDS


def recorded() -> list[Alert]:
    """Return the alerts of the recorded actions."""
    evaluator = Evaluator(load_detection(Settings(), warnings=False).ruleset)
    return [alert for batch in read_recording(ACTS) for alert in evaluator.process(batch, batch.created)]


def spread(alerts: list[Alert], now: int) -> Iterator[Alert]:
    """Yield these alerts again and again, on several hosts, up to now; a few kinds far more often than the others."""
    chance = random.Random(7)  # noqa: S311  no secret is drawn
    weights = [1 / (1 + number) for number in range(len(alerts))]
    for number, at in enumerate(sorted(now - int(_SPAN * chance.random() ** 1.5) for _ in range(ALERTS))):
        alert = chance.choices(alerts, weights)[0]
        host = chance.choice(HOSTS)
        yield replace(alert, id=alert_id(at, "console", number), time=at, hostname=host, host_id=host)


def main() -> None:
    """Write the file."""
    writer = RecordingWriter(Path(sys.argv[1]), ALERT_SCHEMA)
    for alert in spread(recorded(), time.time_ns()):
        writer.write(encode_alert(alert))
    writer.close()


if __name__ == "__main__":
    main()
