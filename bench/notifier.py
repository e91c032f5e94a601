"""Measure alerts per second for each sink, and the time that delivery adds, with receivers in a separate process.

Each sink has an outbox on disk, as in `lanner run`; all are measured in turn, three times. SIEM topics are
written to a separate broker, with one replica. All receivers listen on loopback.
"""

import asyncio
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection as Pipe
from pathlib import Path

from bench.running import running_broker, topics_on
from foundation.throttling import Backoff
from lanner.settings import load_settings
from lanner.settings.sections.model import SIEM
from lanner.wiring.sinks.registry import open_sink
from notifier.outbox import Outbox
from notifier.sink import RoutedAlert, SendOutcome, Sink, SinkStats
from notifier.worker import RetryPolicy, Worker
from schemas.alert import Alert

ROUNDS = 3
SECONDS = 2.0
"""How long alerts are sent at full speed, per sink and round."""
SINGLE = 100
"""Alerts that arrive one at a time, per sink and round."""
PAUSE = 0.01
ANSWER = b'{"text":"Success","code":0}'


def main() -> None:
    """Print one line per sink."""
    with (
        _receivers() as (http, tcp, udp),
        tempfile.TemporaryDirectory() as folder,
        running_broker(Path(folder, "kafka")) as broker,
    ):
        connection = topics_on(broker, 4)
        sinks = {
            "file": [],
            "syslog over UDP": ["syslog_output.transport=udp", f"syslog_output.port={udp}"],
            "syslog over TCP": ["syslog_output.transport=tcp", f"syslog_output.port={tcp}"],
            **{
                f"webhook, {form}": [f"webhook_output.url=http://127.0.0.1:{http}/", f"webhook_output.format={form}"]
                for form in ("falco", "splunk_hec", "alertmanager")
            },
            "apprise, one service": [],
            **{topic: [] for topic in SIEM},
        }
        rates: dict[str, list[float]] = {name: [] for name in sinks}
        waits: dict[str, list[float]] = {name: [] for name in sinks}
        secrets = {"LANNER_WEBHOOK_TOKEN": "made-up-token", "LANNER_APPRISE_URLS": f"json://127.0.0.1:{http}/"}
        for turn in range(ROUNDS):
            for number, (name, flags) in enumerate(sinks.items()):
                inside = Path(folder) / f"{number}-{turn}"
                settings = load_settings(None, {}, [*flags, f"file_output.filename={inside}/alerts"])
                sink = name.split()[0].rstrip(",")
                opened = open_sink(settings, sink, connection=connection, environment=secrets)
                rates[name].append(_rate(inside / "many.db", opened))
                waits[name] += _waits(inside / "single.db", opened)
                opened.close()
    print("| sink | alerts a second | added, p50 | p99 |\n|---|---|---|---|")
    for name in sinks:
        ordered = sorted(waits[name])
        p50, p99 = ordered[len(ordered) // 2], ordered[len(ordered) * 99 // 100]
        print(f"| {name} | {statistics.median(rates[name]):,.0f} | {p50 * 1000:.1f} ms | {p99 * 1000:.1f} ms |")


def _rate(path: Path, sink: Sink) -> float:
    """Deliver waiting alerts for a while; return the rate."""
    box = Outbox(path, capacity=1_000_000)
    for number in range(4000):
        box.put(_alert(number))
    worker = _worker(box, sink)
    began = time.perf_counter()
    while box.backlog() and time.perf_counter() - began < SECONDS:
        worker.turn()
    taken = time.perf_counter() - began
    box.close()
    return worker.stats.sent / taken


def _waits(path: Path, sink: Sink) -> list[float]:
    """Return the seconds from fetching an alert to its acceptance, for alerts that arrive one at a time."""
    box = Outbox(path, capacity=1_000_000)
    accepted: list[float] = []
    worker = _worker(box, _Watched(sink, accepted))
    worker.start()
    taken: list[float] = []
    for number in range(SINGLE):
        taken.append(time.perf_counter())
        box.put(_alert(number))
        while len(accepted) <= number:
            time.sleep(0.0002)
        time.sleep(PAUSE)
    worker.stop(5)
    box.close()
    return [later - sooner for sooner, later in zip(taken, accepted, strict=True)]


class _Watched(Sink):
    """Records when a sink accepted."""

    def __init__(self, sink: Sink, accepted: list[float]) -> None:
        self.batch_size = sink.batch_size
        self._sink = sink
        self._accepted = accepted

    def send(self, alerts: Sequence[RoutedAlert]) -> SendOutcome:
        outcome = self._sink.send(alerts)
        self._accepted.append(time.perf_counter())
        return outcome

    def idle(self) -> None:
        self._sink.idle()

    def reopen(self) -> None:
        self._sink.reopen()

    def close(self) -> None:
        """Leave it open, because it is used again."""


def _worker(box: Outbox, sink: Sink) -> Worker:
    return Worker(
        "bench",
        box,
        sink,
        RetryPolicy(Backoff(), lambda: 0.5),
        RoutedAlert,
        stats=SinkStats(),
        report=lambda text: print(f"failure: {text}"),
    )


def _alert(number: int) -> Alert:
    return replace(ALERT, id=f"01a20e63-3df8-8a19-82ef-{number:012x}")


_FACTS = {
    "proc.name": "cat",
    "proc.cmdline": "cat /etc/shadow",
    "proc.exepath": "/usr/bin/cat",
    "proc.pid": 4711,
    "proc.pname": "bash",
    "user.name": "root",
    "user.uid": 0,
    "fd.name": "/etc/shadow",
    "container.id": "0123456789ab",
    "container.name": "shop",
    "k8s.ns.name": "prod",
    "k8s.pod.name": "shop-7",
}
ALERT = Alert(
    id="",
    time=1_795_530_690_479_846_943,
    rule="Read sensitive file untrusted",
    priority="Warning",
    output="Sensitive file opened for reading | file=/etc/shadow process=cat command=cat /etc/shadow user=root",
    output_fields={name: _FACTS[name] for name in ("fd.name", "proc.name", "proc.cmdline", "user.name")},
    tags=("T1555", "container", "filesystem", "host", "mitre_credential_access"),
    hostname="web-3",
    host_id="8a1c",
    event=_FACTS,
)


@contextmanager
def _receivers() -> Iterator[tuple[int, int, int]]:
    """Yield the ports of an HTTP, a TCP and a UDP receiver."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=_receive, args=(there,), daemon=True)
    process.start()
    try:
        yield here.recv()
    finally:
        process.terminate()
        process.join()


def _receive(pipe: Pipe) -> None:
    asyncio.run(_serve(pipe))


async def _serve(pipe: Pipe) -> None:
    async def http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
                await reader.readexactly(int(length.split(b":")[1]))
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(ANSWER), ANSWER))
        except asyncio.IncompleteReadError:
            writer.close()

    async def tcp(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65536):
            pass
        writer.close()

    servers = [await asyncio.start_server(each, "127.0.0.1", 0) for each in (http, tcp)]
    loop = asyncio.get_running_loop()
    udp, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, ("127.0.0.1", 0))
    ports = [server.sockets[0].getsockname()[1] for server in servers]
    pipe.send((*ports, udp.get_extra_info("sockname")[1]))
    await asyncio.Event().wait()


if __name__ == "__main__":
    main()
