"""Settings of metrics and health."""

from dataclasses import dataclass

from lanner.settings.about import about
from lanner.settings.forms import values


@dataclass(frozen=True, slots=True)
class Http:
    """Address of /metrics, /healthz and /readyz; they need no password, so restrict access to them."""

    listen: str | None = about(
        "[ADDRESS:]PORT, or off. By default 127.0.0.1 and 8775 (collector), 8776 (processor), 8777 (notifier),\n"
        "8779 (kubernetes), 8780 (intake); `run` doesn't listen by default. Port 0 uses a free port, which is logged.",
        None,
        form=values.listen,
    )
    stuck_seconds: int = about("A loop without an iteration for this long makes /healthz fail.", 60)
    oldest_undelivered_seconds: int = about("An alert that waits for a sink for longer makes /healthz fail.", 900)
