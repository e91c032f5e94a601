"""Serves a process's metrics and health if the settings enable it."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus

import lanner
from lanner.cli.terminal.output import note
from lanner.errors import BadInput
from lanner.installation.libraries import need
from lanner.operations.catalogue import CLOSED, Readings, closed_connections
from lanner.operations.health import Health, HealthCheck, report
from lanner.operations.server import TEXT, Answer, Server
from lanner.settings import Settings
from lanner.settings.forms.addresses import OFF, is_loopback, listen_address

PORTS = {"collector": 8775, "processor": 8776, "notifier": 8777, "kubernetes": 8779, "intake": 8780}
_KIND = "text/plain; version=0.0.4; charset=utf-8"


@contextmanager
def endpoint(
    settings: Settings, stage: str, read: Callable[[], Readings], health: Health, *, flag: str | None = None
) -> Iterator[Server | None]:
    """Serve until exit; yield None if disabled.

    Args:
        settings: the address to listen on.
        stage: collector, processor, notifier, kubernetes, intake or run.
        read: returns the stage's metrics.
        health: returns its checks.
        flag: the address given by a flag, which overrides the setting.

    Raises:
        BadInput: The address is invalid or in use.
        BusUnavailable: The metrics library is not installed.
    """
    listen = flag or settings.http.listen or PORTS.get(stage, OFF)
    if listen == OFF:
        yield None
        return
    origin = "--metrics" if flag else "http.listen"
    host, port = address(str(listen), origin)
    need("metrics", "prometheus_client")
    from lanner.operations.exposition import Exposition  # noqa: PLC0415  optional dependency

    def readings() -> Readings:
        found = _steady(read)
        closed = {**found.get(CLOSED, {}), **closed_connections("metrics", server.closed)}
        return {"lanner_build_info": {(stage, lanner.__version__): 1.0}, **found, CLOSED: closed}

    exposition = Exposition(readings)
    pages: dict[str, Callable[[], Answer]] = {
        "/metrics": lambda: (HTTPStatus.OK, _KIND, exposition.text()),
        "/healthz": lambda: _answer([*health.alive(), *health.well()]),
        "/readyz": lambda: _answer(health.ready()),
        "/livez": lambda: _answer(health.alive()),
    }
    try:
        server = Server(host, port, pages, note)
    except OSError as error:
        hint = f"another process uses port {port}: set {origin} to another port, to 0 for any free one, or to off"
        raise BadInput(f"{origin}: {listen}: {error.strerror or error}; {hint}.") from None
    server.start()
    shown = f"[{host}]" if ":" in host else host
    note(f"serving metrics and health at http://{shown}:{server.port}/metrics, /healthz, /readyz")
    if not is_loopback(host):
        note("metrics and health, which reveal rules and versions, are open to anyone who can connect.", "warning")
    try:
        yield server
    finally:
        server.stop()


def address(text: str, origin: str) -> tuple[str, int]:
    """Parse `[ADDRESS:]PORT`; origin is the setting or flag, for the message. Raises BadInput."""
    found = listen_address(text)
    if found is None:
        raise BadInput(f"{origin}: {text!r} must be a port, an address and a port such as 0.0.0.0:8775, or off.")
    return found


class Beat:
    """The time of a loop's latest iteration."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.at = clock()

    def beat(self) -> None:
        """Record an iteration."""
        self.at = self._clock()


def _answer(checks: Sequence[HealthCheck]) -> Answer:
    is_good, text = report(checks)
    return (HTTPStatus.OK if is_good else HTTPStatus.SERVICE_UNAVAILABLE), TEXT, text.encode()


def _steady(read: Callable[[], Readings]) -> Readings:
    """Read what another thread is writing: if a dict grew during the read, read again."""
    for _ in range(3):
        try:
            return read()
        except RuntimeError:
            continue
    return read()
