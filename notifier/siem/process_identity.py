"""A process's identity beyond its pid, which is used again: the same wherever a document names that process."""

from hashlib import blake2b

from schemas.alert import Alert


def entity_id(alert: Alert, pid_field: str = "proc.pid", start_field: str = "proc.pid.ts") -> str | None:
    """Give host, pid and start time as one opaque word; None where one of them is unknown."""
    pid, start = alert.event.get(pid_field), alert.event.get(start_field)
    if pid is None or start is None:
        return None
    return blake2b(f"{alert.host_id or alert.hostname}\x1f{pid}\x1f{start}".encode(), digest_size=12).hexdigest()
