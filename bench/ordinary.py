"""Measure how much of ordinary work the kernel drops: `python -m bench.ordinary [RULES...]`; default: shipped rules.

Git, make and gcc, pip, tools, a search, cron-like scripts, package installation, accounts, logins by SSH and nightly
jobs are recorded completely by `lanner record` and then evaluated by `lanner rules pushdown --recording`.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from bench.running import started
from tests.live import ordinary_work as work
from tests.live.ordinary_host import ordinary_host

TYPES = (
    *("open", "openat", "openat2", "creat", "execve", "execveat", "connect", "sendto", "sendmsg", "socket", "accept4"),
    *("dup", "dup2", "dup3", "link", "linkat", "symlink", "symlinkat", "unlink", "unlinkat", "rename", "ptrace"),
)
SCRIPT = "date; df; ps aux | wc -l; id; uptime; logrotate -d /etc/logrotate.conf; sleep 0.2"
SEARCH = "find /usr/share -name '*.py' | head -2000 | xargs grep -l import"


def main() -> None:
    """Record, then print the table."""
    options = [part for path in sys.argv[1:] for part in ("-r", path)]
    with tempfile.TemporaryDirectory() as folder:
        recording, errors = Path(folder) / "ordinary.avro", Path(folder) / "messages"
        types = [part for name in TYPES for part in ("--type", name)]
        with started([sys.executable, "-m", "lanner", "record", recording, *types], errors, "recording"):
            _work(Path(folder))
        print(errors.read_text().splitlines()[-1])
        subprocess.run(
            [sys.executable, "-m", "lanner", *options, "rules", "pushdown", "--recording", recording], check=True
        )


def _work(folder: Path) -> None:
    for act in (work.use_git, work.use_make_and_gcc, work.use_pip, work.use_tools):
        act(folder)
    for script in (SEARCH, *[SCRIPT] * 20):
        subprocess.run(["sh", "-c", script], capture_output=True, check=False)
    with ordinary_host() as host:
        host.install()
        with host.daemon("cron", "-f"):
            work.log_in(host, folder)
            work.keep_house(host)


if __name__ == "__main__":
    main()
