"""Measure what it costs to know the names that programs look up: with two rules on names, and without.

    python -m bench.answers flood [SECONDS]   5,000 answers a second from a name server on loopback, beside alerts
    python -m bench.answers work [ROUNDS]     programs that never look up a name, alternating

A flood's cost of an answer is Lanner's processor time with the flood, less that of as long without it. The cost of
other programs is as in bench.live: the lowest of three runs' processor time, as a ratio to that without the two rules.
"""

import multiprocessing
import os
import platform
import random
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.latency import acting
from bench.live import COMPILE, SEARCH, counters, least
from bench.running import HERE, lanner_command, lanner_run, workload
from collector.records.dns import DnsAnswer, written

RATE = 5_000
"""Answers per second."""
NAMES = 2_000
SERVER = ("127.0.0.154", 53)
SHIPPED = str(HERE.parent / "rules" / "lanner_rules.yaml")
RULES = """
- rule: Onion name looked up
  desc: A program asked for a name that exists in Tor only
  condition: dns.question.name endswith .onion
  output: Onion name looked up (name=%dns.question.name)
  priority: WARNING
- rule: Connection to dynamic DNS name
  desc: A program connected to an address that was looked up by such a name
  condition: evt.type = connect and fd.sip.name endswith .duckdns.org
  output: Connection to dynamic DNS name (name=%fd.sip.name)
  priority: NOTICE
"""
_SECONDS, _ROUNDS = 20, 3
_ACTIONS_PER_SECOND = 8
_STEP = 0.01
_WORK = {
    "write and read one byte": ["readwrite", "300000"],
    "open and close, a file that no rule is about": ["open", "100000"],
    "connect and accept on loopback": ["connect", "3000"],
    "fork and exec of /bin/true": ["forkexec", "300"],
}


def main() -> None:
    """Measure what the arguments name, by default both."""
    what, number = [*sys.argv[1:], "", ""][:2]
    print(f"Linux {platform.release()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {time.ctime()}")
    with tempfile.TemporaryDirectory() as folder:
        names = Path(folder) / "names.yaml"
        names.write_text(RULES)
        sets = {"without": [SHIPPED], "with": [SHIPPED, str(names)]}
        if what != "work":
            flood(Path(folder), sets, int(number or _SECONDS))
        if what != "flood":
            work(Path(folder), sets, int(number or _ROUNDS))


def flood(folder: Path, sets: dict[str, list[str]], seconds: int) -> None:
    """Print latency, losses and processor time with each set of rules, at rest and beside the answers."""
    for text, rules in sets.items():
        resting = 0.0
        for rate in (0, RATE):
            random.seed(1)
            with acting(lanner_command(folder, rules), folder / "messages") as (running, actions):
                actions.first()
                with counters(running.process.pid) as read, answering(rate) as answered:
                    before, cpu, began = read(), running.cpu_seconds(), time.monotonic()
                    delays = actions.delays(seconds * _ACTIONS_PER_SECOND)
                    taken, wall = running.cpu_seconds() - cpu, time.monotonic() - began
                    made, lost, _ = (after - past for after, past in zip(read(), before, strict=True))
            each = f", {1e6 * (taken - resting * wall) / answered.value:.1f} µs for each" if rate else ""
            resting = taken / wall
            print(f"{text} names, {answered.value / wall:,.0f} answers/s: {delays}; lost {lost} of {made + lost};")
            print(f"    {100 * taken / wall:.1f} % of a core{each}; load {os.getloadavg()[0]:.1f}", flush=True)


@contextmanager
def answering(rate: int) -> "Iterator[multiprocessing.sharedctypes.Synchronized[int]]":
    """Look up names all the time, in one process at one server; yield the number of answers so far."""
    count = multiprocessing.Value("Q", 0)
    server = multiprocessing.Process(target=_serve, daemon=True)
    client = multiprocessing.Process(target=_ask, args=(rate, count), daemon=True)
    for each in (server, client) if rate else ():
        each.start()
        time.sleep(0.5)
    yield count
    for each in (client, server) if rate else ():
        each.terminate()
        each.join()


def _messages() -> list[bytes]:
    addresses = (f"10.{number >> 8}.{number & 255}.9" for number in range(NAMES))
    answers = (("e.example.net", address) for address in addresses)
    return [
        written(DnsAnswer(f"h{at}.example.org", "A", "NOERROR", each, seconds=60)) for at, each in enumerate(answers)
    ]


def _serve() -> None:
    messages = _messages()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(SERVER)
        while True:
            asked, client = server.recvfrom(64)
            server.sendto(messages[int.from_bytes(asked, "big")], client)


def _ask(rate: int, count: "multiprocessing.sharedctypes.Synchronized[int]") -> None:
    """Ask so often that the rate is held on average; answers that were lost are not waited for."""
    numbers = [number.to_bytes(2, "big") for number in range(NAMES)]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(SERVER)
        client.settimeout(1)
        began, asked = time.monotonic(), 0
        while True:
            due = int((time.monotonic() - began) * rate)
            while asked < due:
                client.send(numbers[asked % NAMES])
                client.recv(2048)
                asked += 1
            count.value = asked
            time.sleep(_STEP)


def work(folder: Path, sets: dict[str, list[str]], rounds: int) -> None:
    """Print the processor time of programs, and Lanner's beside them, with the rules as a ratio to that without."""
    commands = {text: [str(workload()), *arguments] for text, arguments in _WORK.items()}
    commands |= {"find and grep": ["sh", "-c", SEARCH], "compile": ["sh", "-c", COMPILE]}
    ratios: dict[str, list[float]] = {text: [] for text in commands}
    cpu = dict.fromkeys(sets, 0.0)
    for number in range(rounds):
        taken: dict[str, dict[str, float]] = {}
        for name in sorted(sets, reverse=number % 2 == 0):
            with lanner_run(folder, sets[name], alerts=False) as running:
                before = running.cpu_seconds()
                taken[name] = {text: least(command, 1) for text, command in commands.items()}
                cpu[name] += running.cpu_seconds() - before
        for text, found in ratios.items():
            found.append(taken["with"][text] / taken["without"][text])
    for text, found in ratios.items():
        print(f"{text:<46} {statistics.median(found):.2f} ({min(found):.2f} to {max(found):.2f})")
    print(f"Lanner's own processor time: {cpu['without']:.2f} s without, {cpu['with']:.2f} s with")


if __name__ == "__main__":
    main()
