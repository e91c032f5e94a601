"""Measure the console with a million alerts: `python -m bench console`.

The alerts are of 40 rules, 60 images and 1,000 hosts in 30 days. Times are those of requests over HTTP to a console
that holds them, with pages built completely. The rate is that of filling the view at its limit, where each
new alert also deletes the oldest one.
"""

import gc
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from http.client import HTTPConnection
from itertools import islice
from pathlib import Path

from bench.notifier import ALERT
from lanner.console.feed.files import AuditFile, MarkFile
from lanner.console.feed.queue import LocalAlerts
from lanner.console.store.record import AlertRecord, record_of
from lanner.console.store.view import AlertView, ViewLimits
from lanner.settings import load_settings
from lanner.wiring.http.console import RunningConsole
from schemas.alert import alert_id

ALERTS = 1_000_000
DAYS = 30
BATCH = 500
ROUNDS = 15
FURTHER = 20_000
_DAY = 86_400 * 10**9
PAGES = {
    "first page, last 24 hours": "/",
    "all groups of 30 days": "/?since=30d",
    "by priority, 7 days": "/?since=7d&priority=error&sort=priority",
    "one host, 30 days": "/?since=30d&host=web-17",
    "all hosts of a class, 30 days": "/?since=30d&host=web-*",
    "an hour of the histogram": "/?since=2d&until=47h",
    "search: a word of every alert, 30 days": "/?since=30d&q=shadow",
    "search: a path, 30 days": "/?since=30d&q=/etc/shadow",
    "search: a rare word, 30 days": "/?since=30d&q=rare",
    "search: two words and a rule": "/?since=30d&q=cat+web-17&rule=Rule+3",
    "search: the beginning of a word": "/?since=30d&q=rar*",
    "histogram, 30 days (JSON)": "/api/histogram?since=30d",
}


def main() -> None:
    """Fill a view, then print one line per page."""
    count = int(sys.argv[1]) if sys.argv[1:] and sys.argv[1].isdigit() else ALERTS
    with tempfile.TemporaryDirectory(prefix="lanner-bench-") as name:
        folder = Path(name)
        now = time.time_ns()
        view = AlertView(folder / "alerts.db", ViewLimits(alerts=count))
        began = time.perf_counter()
        for batch in _batches(_records(count, now - DAYS * _DAY, now)):
            view.add(batch, now)
        print(f"filled: {count:,} alerts, {count / (time.perf_counter() - began):,.0f} a second", flush=True)
        size = sum(path.stat().st_size for path in folder.iterdir())
        print(f"file: {size / 2**20:,.0f} MiB, {size / count:.0f} bytes per alert")
        further = list(_batches(_records(FURTHER, now - 10**9, now)))
        began = time.perf_counter()
        for batch in further:
            view.add(batch, now)
            while view.prune(now):
                pass
        print(f"taken at the limit: {FURTHER / (time.perf_counter() - began):,.0f} alerts a second", flush=True)
        view.close()
        _pages(folder)


def _pages(folder: Path) -> None:
    settings = load_settings(None, {}, [f"console.state_dir={folder}", "console.max_alerts=2000000"])
    console = RunningConsole(
        settings,
        folder,
        source=lambda _: LocalAlerts(),
        marks=lambda: MarkFile(folder / "marks"),
        audit=lambda: AuditFile(folder / "audit"),
        described="the benchmark",
        note=lambda *_: None,
        listen="127.0.0.1:0",
    )
    gc.collect()
    print("| page | p50 | max |\n|---|---|---|")
    for name, path in PAGES.items():
        taken = []
        for _ in range(ROUNDS):
            connection = HTTPConnection("127.0.0.1", console.port, timeout=120)
            began = time.perf_counter()
            connection.request("GET", path, headers={"Accept-Encoding": "gzip"})
            answer = connection.getresponse()
            answer.read()
            taken.append(1000 * (time.perf_counter() - began))
            assert answer.status == 200, (path, answer.status)
            connection.close()
        print(f"| {name} | {statistics.median(taken):.0f} ms | {max(taken):.0f} ms |", flush=True)
    console.stop()


def _batches(records: Iterator[AlertRecord]) -> Iterator[list[AlertRecord]]:
    while batch := list(islice(records, BATCH)):
        yield batch


def _records(count: int, first: int, last: int) -> Iterator[AlertRecord]:
    chance = random.Random(11)
    rules = [1 / (1 + number) for number in range(40)]
    texts = [1 / (1 + number) for number in range(60)]
    chosen = zip(chance.choices(range(40), rules, k=count), chance.choices(range(60), texts, k=count), strict=True)
    for number, (rule, image) in enumerate(chosen):
        at = first + (last - first) * number // count
        host = f"{('web', 'db', 'build')[image % 3]}-{chance.randrange(333)}"
        word = " rare" if number % 50_000 == 7 else ""
        event = ALERT.event | {
            "container.image.repository": f"registry/image-{chr(97 + image % 26)}{chr(97 + image // 26)}"
        }
        yield record_of(
            replace(
                ALERT,
                id=alert_id(at, "bench", number),
                time=at,
                rule=f"Rule {rule}",
                priority=("Critical", "Error", "Warning", "Notice")[rule % 4],
                hostname=host,
                host_id=host,
                output=f"{ALERT.output} pid={number} container_id={chance.getrandbits(48):012x}{word}",
                event=event,
            )
        )


if __name__ == "__main__":
    main()
