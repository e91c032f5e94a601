"""Measure the console with a million alerts: `python -m bench console`.

The alerts are of 40 rules, 60 images and 1,000 hosts in 30 days. Times are those of requests over HTTP to a console
that holds them, with pages built completely. The rate is that of decoding alerts and taking them at the view's limit,
where each new alert also deletes the oldest one.
"""

import gc
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.client import HTTPConnection
from itertools import islice
from pathlib import Path

from bench.notifier import ALERT
from lanner.console.feed import ViewFeed
from lanner.console.feed_files import LineFile, LocalAlerts, MarkFile
from lanner.console.fleet.ports import FilesOnly
from lanner.console.store.record import AlertRecord, record_of
from lanner.console.store.view import AlertView, ViewLimits
from lanner.console.story.rules import RuleBook
from lanner.settings import load_settings
from lanner.wiring.rules import find_rules
from lanner.wiring.stages.console import RunningConsole
from schemas.alert import Alert, alert_id, decode_alert, encode_alert
from schemas.catalog.priorities import BY_NAME

ALERTS = 1_000_000
DAYS = 30
BATCH = 500
ROUNDS = 15
FURTHER = 20_000
_DAY = 86_400 * 10**9
PAGES = {
    "first page, last 24 hours": (24, "/", ""),
    "all groups of 30 days": (720, "/", ""),
    "by priority, 7 days": (168, "/", "&priority=error&sort=priority"),
    "one host, 30 days": (720, "/", "&host=web-17"),
    "all hosts of a class, 30 days": (720, "/", "&host=web-*"),
    "an hour of the histogram": (48, "/", "&until=47h"),
    "search: what every alert has, 30 days": (720, "/", "&q=shadow"),
    "search: a path, 30 days": (720, "/", "&q=/etc/shadow"),
    "search: a rare word, 30 days": (720, "/", "&q=rare"),
    "search: two words and a rule": (720, "/", "&q=cat+web-17&rule=Rule+3"),
    "the overview, 7 days": (168, "/overview", ""),
    "the overview, 30 days": (720, "/overview", ""),
    "counts by value, 24 hours": (24, "/api/facets", ""),
    "counts by value, 30 days": (720, "/api/facets", ""),
    "search: the beginning of a word": (720, "/", "&q=rar*"),
}
"""Hours before now, the page, and further filters."""


def main() -> None:
    """Fill a view, then print one line per page."""
    count = int(sys.argv[1]) if sys.argv[1:] and sys.argv[1].isdigit() else ALERTS
    with tempfile.TemporaryDirectory(prefix="lanner-bench-") as name:
        folder = Path(name)
        now = time.time_ns()
        view = AlertView(folder / "alerts.db", ViewLimits(alerts=count))
        began = time.perf_counter()
        for batch in _batches(map(record_of, _alerts(count, now - DAYS * _DAY, now))):
            view.add(batch, now)
        print(f"filled: {count:,} alerts, {count / (time.perf_counter() - began):,.0f} a second", flush=True)
        size = sum(path.stat().st_size for path in folder.iterdir())
        print(f"file: {size / 2**20:,.0f} MiB, {size / count:.0f} bytes per alert")
        print(f"taken at the limit: {_rate(view, folder, now):,.0f} alerts a second", flush=True)
        _pages(folder)


def _rate(view: AlertView, folder: Path, now: int) -> float:
    """Return how many encoded alerts a feed takes in a second; closes the view."""
    encoded = [encode_alert(alert) for alert in _alerts(FURTHER, now - 10**9, now)]
    feed = ViewFeed(view, LocalAlerts(map(decode_alert, encoded)), MarkFile(folder / "marks"), note=lambda *_: None)
    began = time.perf_counter()
    feed.start()
    while feed.taken < FURTHER:
        time.sleep(0.01)
    rate = FURTHER / (time.perf_counter() - began)
    feed.stop()
    return rate


def _pages(folder: Path) -> None:
    settings = load_settings(None, {}, [f"console.state_dir={folder}", "console.max_alerts=2000000"])
    console = RunningConsole(
        settings,
        folder,
        source=lambda _: LocalAlerts(),
        marks=lambda: MarkFile(folder / "marks"),
        audit=lambda: LineFile(folder / "audit"),
        fleet=FilesOnly(BY_NAME[settings.priority], RuleBook(partial(find_rules, settings)).rules),
        described="the benchmark",
        note=lambda *_: None,
        listen="127.0.0.1:0",
    )
    gc.collect()
    print("| page | p50 | max |\n|---|---|---|")
    for name, (hours, path_of_page, filters) in PAGES.items():
        taken = []
        for turn in range(ROUNDS):
            # Another time each time: pages that request the same share the answer.
            path = f"{path_of_page}?since={3600 * hours - turn}s{filters}"
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


def _alerts(count: int, first: int, last: int) -> Iterator[Alert]:
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
        yield replace(
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


if __name__ == "__main__":
    main()
