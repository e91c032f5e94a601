"""Finds the process of each login by SSH. Pure.

sshd starts a process for each connection. It is root's, logs that a login was accepted, and is an ancestor of all that
the person runs, with privileges separated (`sshd: alice [priv]`) as without, and as sshd-session since OpenSSH 9.8.
"""

from collections import Counter
from collections.abc import Iterable

from processor.sessions.commands import MAX_APART
from processor.sessions.reading import SSHD_PROGRAMS
from processor.sessions.records import SshLogin
from processor.sessions.store import FairStore
from schemas.batch import EventBatch, Process

MAX_LOGINS = 20_000


class SshLogins:
    """The logins of all hosts, by the process that accepted them."""

    def __init__(self) -> None:
        """Begin with none."""
        self.evicted: Counter[str] = Counter()
        """Logins that had to make room."""
        self._logins: FairStore[int, str, SshLogin] = FairStore(MAX_LOGINS)

    def __len__(self) -> int:
        return len(self._logins)

    def records(self) -> Iterable[SshLogin]:
        """Yield all logins, so that another process can go on with them."""
        return self._logins.entries()

    def add(self, login: SshLogin) -> None:
        """Take a login; one that is known already changes nothing."""
        if self._logins.get(login.pid, login.key) is None:
            gone = self._logins.put(login.machine or login.hostname, login.pid, login.key, login)
            self.evicted["login"] += len(gone)

    def get(self, batch: EventBatch, process: Process, time: int) -> SshLogin | None:
        """Return the login that a process accepted; None if it accepted none.

        Args:
            batch: of the process.
            process: the process.
            time: at which it ran, ns since the epoch.
        """
        if process.name not in SSHD_PROGRAMS or process.start_time is None or process.container >= 0:
            return None
        # A process that is older than a login and still there is the one that had this id then: none other could.
        fitting = [
            each
            for each in self._logins.within(process.pid)
            if _is_host(each, batch) and process.start_time <= each.time + MAX_APART and each.time <= time + MAX_APART
        ]
        return max(fitting, key=lambda each: each.time, default=None)


def _is_host(login: SshLogin, batch: EventBatch) -> bool:
    # Several hosts may have one name.
    return login.machine == batch.host_id if login.machine else login.hostname == batch.hostname != ""
