"""Settings of how a process is looked after: its logs, metrics and health."""

from dataclasses import dataclass

from lanner.settings.about import about


@dataclass(frozen=True, slots=True)
class Http:
    """Where /metrics, /healthz and /readyz are; nothing there asks for a password, so keep it from strangers."""

    listen: str | None = about(
        "[ADDRESS:]PORT, or off. 127.0.0.1 and 8775 (collector), 8776 (processor), 8777 (notifier), if not set;\n"
        "`run` has none then. Port 0 takes one that is free, and the log says which.",
        None,
    )
    stuck_seconds: int = about("A loop that has not come round for so long makes /healthz bad.", 60)
    oldest_undelivered_seconds: int = about(
        "An alert that waits for a sink for longer makes the notifier's /healthz bad.", 900
    )
