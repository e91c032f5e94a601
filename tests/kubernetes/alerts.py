"""Alerts in the log of a pod, each with the time at which the container runtime received it."""

import json
import os
import pty
import select
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tests.kubernetes.node import Node

SHELL = "Terminal shell in container"
SHADOW = "Read sensitive file untrusted"
PACKAGES = "Launch Package Management Process in Container"
_SECONDS = 60


@dataclass(frozen=True, slots=True)
class LoggedAlert:
    """One alert."""

    rule: str
    fields: dict[str, Any]
    delay: float
    """Seconds from the event until the alert was in the log."""

    @property
    def container(self) -> tuple[str, str, str, str]:
        """Namespace, pod, container and image."""
        image = f"{self.fields.get('container.image.repository')}:{self.fields.get('container.image.tag')}"
        names = (self.fields.get(name) for name in ("k8s.ns.name", "k8s.pod.name", "container.name"))
        return (*map(str, names), image)  # type: ignore[return-value]


def alerts(node: Node, namespace: str, workload: str) -> list[LoggedAlert]:
    """Return all alerts in a workload's log."""
    text = node.kubectl("logs", "--namespace", namespace, workload, "--timestamps")
    pairs = (line.split(" ", 1) for line in text.splitlines() if '"rule":' in line)
    return [_parsed(_seconds(at), json.loads(line)) for at, line in pairs]


def wait_for(find: Callable[[], list[LoggedAlert]], number: int = 1) -> list[LoggedAlert]:
    """Return alerts as soon as there are enough of them."""
    deadline = time.monotonic() + _SECONDS
    while len(found := find()) < number:
        assert time.monotonic() < deadline, f"{len(found)} alerts instead of {number}: {found}"
        time.sleep(0.2)
    return found


def in_terminal(node: Node, shell: Sequence[str], *lines: str) -> None:
    """Run a shell with a terminal, and type lines into it."""
    child, terminal = pty.fork()
    if child == 0:
        command = node.command(*shell)
        try:
            os.execvp(command[0], command)  # noqa: S606
        finally:
            os._exit(127)
    for line in (*lines, "exit"):
        _read(terminal, 2)
        os.write(terminal, f"{line}\n".encode())
    _read(terminal, 20)
    os.waitpid(child, 0)


def _read(terminal: int, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        if select.select([terminal], [], [], left)[0]:
            try:
                if not os.read(terminal, 4096):
                    return
            except OSError:
                return


def _parsed(logged: float, alert: dict[str, Any]) -> LoggedAlert:
    return LoggedAlert(alert["rule"], alert["output_fields"], logged - _seconds(alert["time"]))


def _seconds(text: str) -> float:
    return datetime.strptime(text[:26], "%Y-%m-%dT%H:%M:%S.%f").replace(tzinfo=UTC).timestamp()
