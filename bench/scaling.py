"""Measure how a rate grows with the number of processes, each limited to a share of a core.

    python -m bench.scaling [KIND…]       as root; without a kind, all of them

Each process is put in a control group of its own once it is ready, so that a machine with two cores can run eight of
them: their sum, the broker and the generator leave some of it idle. The generator sends more than they can take; the
rate is that of the committed offsets.

- stateless: small batches of ordinary work, and the built-in rules.
- stateful: each batch has an event that a window per host counts.
- one_host: as stateless, but every other batch is of one host.
- one_group: as stateful, but half of all events that count belong to one group.
- notifiers: alerts, to syslog over UDP.
"""

import os
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import chain, count, cycle, islice
from pathlib import Path

from bench.batch_cost import SHIPPED
from bench.cpu_shares import limited
from bench.fleet import stage, wait_until_shared
from bench.fleet_hosts import SimulatedFleet
from bench.running import acknowledged, running_broker, topics_on
from bus.connection import Connection
from bus.topics import ALERTS, CORRELATE, EVENTS, PROCESSOR_GROUP
from schemas.alert import Alert, alert_id, encode_alert
from schemas.encoding.batch import encode_batch
from tests.cluster.actions import Generator, Host, rules_file

PARTITIONS = 32
HOSTS = 640
"""Enough that each partition has about as many."""
SHARE = 0.15
"""The part of a core for each process."""
PROCESSES = (1, 2, 4, 8)
SECONDS = 20
WARM_SECONDS = 8
STATEFUL = """
- macro: many_actions
  condition: evt.type = openat and fd.name startswith /marked/
  correlation: {type: event_count, group-by: [fd.name], timespan: 1m, condition: {gte: 10000}}
- rule: Many actions
  desc: Many actions of one name.
  condition: many_actions
  output: "%correlation.count actions"
  priority: NOTICE
"""


@dataclass(frozen=True, slots=True)
class Load:
    """What is measured."""

    stage: str
    """The command, with its arguments."""
    messages: Iterator[tuple[str, bytes]]
    """Keys and values, without end."""
    rules: Sequence[str] = ()
    options: Sequence[str] = ()
    """With the number of the process for {process}."""
    group: str = PROCESSOR_GROUP
    topics: Sequence[str] = field(default=(EVENTS,))
    """The first one is written; the rate is that of the slowest."""
    ahead: int = 2_000
    """Messages that wait in the topic at any time, for each process: more than it takes between two commits, enough
    for the process whose partitions get most of them."""


def main(kinds: Sequence[str]) -> None:
    """Print the rate for each number of processes, and its ratio to the linear one."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        broker = stack.enter_context(running_broker(folder / "kafka"))
        for kind in kinds:
            one = 0.0
            for processes in PROCESSES:
                connection = topics_on(broker, PARTITIONS, f"{kind}{processes}.")
                with ExitStack() as load_stack:
                    rate = _rate(connection, folder, KINDS[kind](connection, folder, load_stack), processes)
                one = one or rate
                ratio = rate / (one * processes)
                print(f"{kind}, {processes} processes: {rate:,.0f} a second, {ratio:.2f} of linear", flush=True)


def _stateless(connection: Connection, _folder: Path, _stack: ExitStack) -> Load:
    return Load("processor", cycle(_ordinary(connection)), [SHIPPED])


def _one_host(connection: Connection, _folder: Path, _stack: ExitStack) -> Load:
    ordinary = _ordinary(connection)
    return Load("processor", chain.from_iterable((each, ordinary[0]) for each in cycle(ordinary)), [SHIPPED])


def _stateful(_connection: Connection, folder: Path, _stack: ExitStack) -> Load:
    return _marked(folder, lambda number: f"group-{number % HOSTS}")


def _one_group(_connection: Connection, folder: Path, _stack: ExitStack) -> Load:
    return _marked(folder, lambda number: "group" if number % 2 else f"group-{number % HOSTS}")


def _notifiers(_connection: Connection, folder: Path, stack: ExitStack) -> Load:
    receiver = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    # Nobody reads: what finds the buffer full is dropped by the kernel, after the sender has done its work.
    receiver.bind(("127.0.0.1", 0))
    options = ["syslog_output.transport=udp", f"syslog_output.port={receiver.getsockname()[1]}"]
    options.append(f"notifier.state_dir={folder}/notifier-{{process}}")
    return Load("notifier syslog", _alerts(), (), options, "notifier.syslog", (ALERTS,), ahead=10_000)


KINDS: dict[str, Callable[[Connection, Path, ExitStack], Load]] = {
    "stateless": _stateless,
    "stateful": _stateful,
    "one_host": _one_host,
    "one_group": _one_group,
    "notifiers": _notifiers,
}


def _ordinary(connection: Connection) -> list[tuple[str, bytes]]:
    """Return batches of all hosts, encoded beforehand, so that the generator uses little processor time."""
    fleet = SimulatedFleet(HOSTS, Generator(connection, hosts=0))
    return [(fleet.name(number), fleet.work(number)) for number in range(HOSTS)]


def _marked(folder: Path, group: Callable[[int], str]) -> Load:
    hosts = [Host(f"host-{number:05}") for number in range(HOSTS)]

    def messages() -> Iterator[tuple[str, bytes]]:
        # Each is another one: what was counted before is recognized, and costs less.
        for number in count():
            host = hosts[number % HOSTS]
            yield host.name, encode_batch(host.batch(group(number)))

    rules = str(rules_file(folder, STATEFUL))
    return Load("processor", messages(), [rules], topics=(EVENTS, CORRELATE))


def _alerts() -> Iterator[tuple[str, bytes]]:
    """Yield alerts of about a kilobyte that differ by their ids."""
    event = {f"proc.field{number}": "0123456789abcdef" for number in range(30)}
    made = Alert("", 0, "A rule", "Error", "A file was read | " + "x" * 100, {}, event=event, hostname="web-3")
    first = alert_id(0, "first")
    before, after = encode_alert(replace(made, id=first)).split(first.encode())
    for number in count():
        yield str(number % 1000), before + alert_id(0, number).encode() + after


def _rate(connection: Connection, folder: Path, load: Load, processes: int) -> float:
    """Return messages per second."""
    with ExitStack() as stack:
        generator, sent = Generator(connection, hosts=0), 0

        def send() -> int:
            """Keep the topic ahead; return how many messages were taken."""
            nonlocal sent
            done = min(acknowledged(connection, PARTITIONS, topic, load.group) for topic in load.topics)
            for key, value in islice(load.messages, max(0, done + load.ahead * processes - sent)):
                generator.send(value, key, topic=load.topics[0])
                sent += 1
                if sent % 1_000 == 0:
                    # The client's queue has a limit.
                    generator.flush()
            time.sleep(0.2)
            return done

        running = [
            stack.enter_context(
                stage(
                    connection,
                    folder,
                    load.stage,
                    *load.rules,
                    options=[option.format(process=process) for option in load.options],
                )
            )
            for process in range(processes)
        ]
        wait_until_shared(connection, processes, load.group)
        for each in running:
            stack.enter_context(limited(each.process.pid, SHARE))
        first, begun = _run(send, WARM_SECONDS)
        last, ended = _run(send, SECONDS)
        generator.flush()
        return (last - first) / (ended - begun)


def _run(send: Callable[[], int], seconds: float) -> tuple[int, float]:
    """Send for some time; return how many messages were taken by then, and when."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        send()
    return send(), time.monotonic()


if __name__ == "__main__":
    if os.geteuid():
        sys.exit("bench.scaling limits processes by control groups, so it needs root")
    if unknown := [kind for kind in sys.argv[1:] if kind not in KINDS]:
        sys.exit(f"unknown: {', '.join(unknown)}; known: {', '.join(KINDS)}")
    main(sys.argv[1:] or list(KINDS))
