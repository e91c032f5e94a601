"""The servers that settings describe: their addresses, and the one for metrics and health of each stage."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from lanner.errors import BadInput
from lanner.libraries import need
from lanner.operations.catalogue import Readings
from lanner.operations.health import Health
from lanner.operations.server import Server, serving
from lanner.settings import Settings
from lanner.settings.forms import OFF, host_and_port, is_loopback, listen_address
from lanner.terminal.output import note

PORTS = {"collector": 8775, "processor": 8776, "notifier": 8777, "kubernetes": 8779, "intake": 8780}


@contextmanager
def endpoint(
    settings: Settings, stage: str, read: Callable[[], Readings], health: Health, *, flag: str | None = None
) -> Iterator[Server | None]:
    """Serve metrics and health until exit; yield None if disabled.

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
    with ExitStack() as stack:
        try:
            server = stack.enter_context(serving((host, port), stage, read, health, note))
        except OSError as error:
            hint = f"another process uses port {port}: set {origin} to another port, to 0 for any free one, or to off"
            raise BadInput(f"{origin}: {listen}: {error.strerror or error}; {hint}.") from None
        shown = f"[{host}]" if ":" in host else host
        note(f"serving metrics and health at http://{shown}:{server.port}/metrics, /healthz, /readyz")
        if not is_loopback(host):
            note("metrics and health, which reveal rules and versions, are open to anyone who can connect.", "warning")
        yield server


def intake_address(listen: str) -> tuple[str, int]:
    """Parse the `HOST:PORT` on which an intake listens. Raises BadInput."""
    found = host_and_port(listen)
    if found is None:
        raise BadInput(f"--listen: {listen!r} must be host:port, such as 127.0.0.1:2801.")
    return found


def address(text: str, origin: str) -> tuple[str, int]:
    """Parse `[ADDRESS:]PORT`; origin is the setting or flag, for the message. Raises BadInput."""
    found = listen_address(text)
    if found is None:
        raise BadInput(f"{origin}: {text!r} must be a port, an address and a port such as 0.0.0.0:8775, or off.")
    return found
