"""Limit processes to shares of a core, so that they don't take each other's processor time."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_CPU = Path("/sys/fs/cgroup/cpu")
_PERIOD_US = 20_000


@contextmanager
def limited(pid: int, share: float) -> Iterator[Callable[[], float]]:
    """Limit a process to a share of a core.

    Yields:
        A function that returns for how many seconds the process has had to wait because its share was used up.
    """
    name = f"lanner-bench-{pid}"
    if _CPU.exists():
        group = _CPU / name
        group.mkdir()
        (group / "cpu.cfs_period_us").write_text(str(_PERIOD_US))
        (group / "cpu.cfs_quota_us").write_text(str(int(share * _PERIOD_US)))
    else:
        group = Path("/sys/fs/cgroup") / name
        group.mkdir()
        (group / "cpu.max").write_text(f"{int(share * _PERIOD_US)} {_PERIOD_US}")
    (group / "cgroup.procs").write_text(str(pid))
    try:
        yield lambda: _throttled_seconds(group / "cpu.stat")
    finally:
        # A group can only be removed once it has no process.
        with suppress(ProcessLookupError):
            (group.parent / "cgroup.procs").write_text(str(pid))
        group.rmdir()


def _throttled_seconds(path: Path) -> float:
    """Read a group's statistics: nanoseconds in cgroup version 1, microseconds in version 2."""
    found = dict(row.split() for row in path.read_text(encoding="ascii").splitlines())
    if (nanoseconds := found.get("throttled_time")) is not None:
        return int(nanoseconds) / 1e9
    return int(found["throttled_usec"]) / 1e6
