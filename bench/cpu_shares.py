"""Limit processes to shares of a core, so that they don't take each other's processor time."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_CPU = Path("/sys/fs/cgroup/cpu")
_PERIOD_US = 20_000


@contextmanager
def limited(pid: int, share: float) -> Iterator[None]:
    """Limit a process to a share of a core."""
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
        yield
    finally:
        # A group can only be removed once it has no process.
        with suppress(ProcessLookupError):
            (group.parent / "cgroup.procs").write_text(str(pid))
        group.rmdir()
