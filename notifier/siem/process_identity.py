"""An identity of a process beyond its pid, which is reused; all documents name a process by the same identity."""

from hashlib import blake2b

from schemas.alert import Alert


def entity_id(alert: Alert, pid_field: str = "proc.pid", start_field: str = "proc.pid.ts") -> str | None:
    """Return a hash of host, pid and start time; None if one of them is unknown."""
    pid, start = alert.event.get(pid_field), alert.event.get(start_field)
    if pid is None or start is None:
        return None
    return blake2b(f"{alert.host_id or alert.hostname}\x1f{pid}\x1f{start}".encode(), digest_size=12).hexdigest()
