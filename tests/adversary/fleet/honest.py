"""Hosts that send the same batches, under keys of their own, to every fleet that is compared."""

import time
from collections.abc import Sequence
from pathlib import Path

from bus.connection import Connection
from schemas.batch import EventBatch, Process
from tests.cluster.identities import SigningHost
from tests.unit.processor.batches import batch_of

NAMES = ("web-1", "web-2", "web-3")
_ORDINARY = {"type": "openat", "fd_name": "/usr/lib/locale/C.utf8/LC_CTYPE"}
_REPEATED_ROUNDS = 4
"""In the first of them a repeated act is alerted on, in the others, which come within 20 s, it is counted."""


class Honest:
    """What honest hosts do, in rounds; a round's outcome does not depend on the order of its hosts."""

    def __init__(self, secret: str) -> None:
        self.rounds = 0
        self.actions: list[str] = []
        """Paths of all actions that a rule reports one by one."""
        self._secret = secret

    def next_round(self) -> list[EventBatch]:
        """Return what each host sends in the next round."""
        made = [self._batch(which) for which in range(len(NAMES))]
        self.rounds += 1
        return made

    def _batch(self, which: int) -> EventBatch:
        number, name, now = self.rounds, NAMES[which], time.time_ns()
        # In each round a group has one action, each time of another host: the third of a block completes it.
        group = f"group-{number // len(NAMES)}-{(which - number) % len(NAMES)}"
        act = f"/{self._secret}/act/{name}-{number}"
        paths = [(act, group), (f"/{self._secret}/first/{name}", f"chain-{number}-{which}")]
        if number:
            # Another host goes on with what this one's neighbor began a round ago.
            before = (which + 1) % len(NAMES)
            paths.append((f"/{self._secret}/second/{name}", f"chain-{number - 1}-{before}"))
        if number < _REPEATED_ROUNDS:
            paths.append((f"/{self._secret}/again/{name}", name))
        self.actions.append(act)
        actions = [{"type": "openat", "fd_name": path, "fd_name_raw": raw} for path, raw in paths]
        made = batch_of(
            *({**event, "time": now + which} for which, event in enumerate([*[_ORDINARY] * 5, *actions])),
            # Another one each time: of one process only so many alerts are sent in a minute.
            processes=[Process(pid=1_000 + number, name="systemd", exe="systemd", args=(name,), start_time=now)],
            host_id=name,
            hostname=name,
            boot_id=f"boot-{name}",
            collector_start=1,
            sequence=number + 1,
        )
        made.created = now
        return made

    def owed(self) -> int:
        """Return how many alerts there are in all, the sums of repeats included."""
        hosts, blocks = len(NAMES), self.rounds // len(NAMES)
        return self.rounds * hosts + 2 * blocks * hosts + (self.rounds - 1) * hosts + 2 * hosts


class Collectors:
    """The honest hosts' collectors, as they send to one fleet."""

    def __init__(self, connection: Connection, folder: Path) -> None:
        self._hosts = [SigningHost(connection, name, folder) for name in NAMES]

    def send(self, batches: Sequence[EventBatch]) -> None:
        """Send a batch of each."""
        for host, batch in zip(self._hosts, batches, strict=True):
            host.publisher.publish(batch)
            host.publisher.poll()

    def poll(self) -> None:
        """Go on with what is on its way."""
        for host in self._hosts:
            host.publisher.poll()

    def stop(self) -> None:
        """End them; nothing is left behind."""
        for host in self._hosts:
            assert host.stop() == 0
