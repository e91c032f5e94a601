"""Locks an account of this host and ends its sessions; unlocking restores exactly what was there before.

A locked password alone leaves keys of SSH valid, so the account expires as well: PAM and sshd refuse it then, however
somebody signs in.
"""

import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from collector.actions.containers import ContainerOf, OpenProcess, all_pids, open_process
from collector.actions.effect import ActionRefused, Effect, TargetGone, UndoFacts
from collector.processes.container_names import container_of
from collector.procfs.parse import parse_cgroup, parse_stat, parse_status, text_of
from collector.procfs.reading import read_file
from foundation.text import count_of, printable
from schemas.action import ActionIntent

PASSWD, SHADOW, LOGIN_DEFS = "/etc/passwd", "/etc/shadow", "/etc/login.defs"
USERMOD = tuple(map(Path, ("/usr/sbin/usermod", "/sbin/usermod", "/usr/bin/usermod")))
LOGINCTL = Path("/usr/bin/loginctl")
_SYSTEMD = Path("/run/systemd/system")
"""Exists if systemd runs this host. Source: sd_booted(3)."""
_MAX_FILE = 16 << 20
_FIRST_USER = 1000
"""Unless login.defs states another UID_MIN."""
_NOBODY = 65_534
_EXPIRED = "1"
"""Days since 1970 at which a locked account expired."""
_SECONDS = 20
"""usermod itself waits 15 s for another program that changes accounts."""
_KILL_SECONDS = 3.0
_MAX_ANCESTORS = 64


@dataclass(frozen=True, slots=True)
class _Shadow:
    """The fields of /etc/shadow that locking changes. Source: shadow(5)."""

    password: str
    expires: str

    @property
    def has_lock(self) -> bool:
        return self.password.startswith("!")


class AccountLock:
    """Locks accounts.

    Args:
        container_of: returns the container that a cgroup's path names; processes in containers are spared, because the
            same id is another user there.
    """

    def __init__(self, container_of: ContainerOf = container_of) -> None:
        self._container_of = container_of

    def before(self, intent: ActionIntent) -> UndoFacts:
        """Return what will unlock an account, without locking it. Raises as HostAction.do."""
        shadow = _checked(intent)
        if shadow.expires == _EXPIRED and (shadow.has_lock or not shadow.password):
            raise ActionRefused("the account is locked already")
        if any(_belongs(each, intent.uid) for each in _own_line()):
            raise ActionRefused("Lanner itself was started in a session of this user: run it as a service")
        # If nothing was locked, unlocking would fail for an account without a password.
        locks = bool(shadow.password) and not shadow.has_lock
        return {
            "expires": shadow.expires,
            "locks": int(locks),
            # For what undoes it while nothing of Lanner runs.
            "command": _command(_restoring(shadow.expires, unlocks=locks), intent.user),
        }

    def do(self, intent: ActionIntent) -> Effect:
        """Lock an account and end its sessions; see HostAction."""
        facts = self.before(intent)
        _usermod([*(["--lock"] if facts["locks"] else []), f"--expiredate={_EXPIRED}"], intent.user)
        ended, left = self._end_sessions(intent.uid)
        text = f"locked the account {printable(intent.user)} and ended {count_of(ended, 'process', 'processes')} of it"
        return Effect(text + (f"; {left} still run" if left else ""), facts)

    def extend(self, intent: ActionIntent, facts: UndoFacts, lease: int) -> None:
        """Do nothing: the account stays locked until it is unlocked."""

    def undo(self, intent: ActionIntent, facts: UndoFacts) -> str:
        """Unlock the account; see HostAction."""
        try:
            shadow = _account(intent)
        except ActionRefused as changed:
            raise TargetGone(str(changed)) from None
        # What somebody has changed since then stays as it is.
        options = _restoring(
            str(facts.get("expires", "")) if shadow.expires == _EXPIRED else None,
            unlocks=bool(facts.get("locks")) and shadow.has_lock,
        )
        if not options:
            return "the account was unlocked already"
        _usermod(options, intent.user)
        return f"unlocked the account {printable(intent.user)}"

    def _end_sessions(self, uid: int) -> tuple[int, int]:
        """End all processes of a user on the host; return how many were killed, and how many are left."""
        spared = {each.pid for each in _own_line()}
        if _SYSTEMD.is_dir() and LOGINCTL.exists():
            with suppress(OSError, subprocess.SubprocessError):
                command = [str(LOGINCTL), "terminate-user", str(uid)]
                subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False, cwd="/")
        killed: set[int] = set()
        deadline = time.monotonic() + _KILL_SECONDS
        while True:
            found = [pid for pid in all_pids() if pid not in spared and self._kill(pid, uid)]
            killed.update(found)
            if not found or time.monotonic() > deadline:
                return len(killed), len(found)
            time.sleep(0.01)

    def _kill(self, pid: int, uid: int) -> bool:
        """Kill a process if it is the user's, checked while the pidfd refers to it; return whether it is."""
        with suppress(OSError), open_process(pid) as process:
            if not _belongs(process, uid):
                return False
            pidfd = os.pidfd_open(pid)
            try:
                # What is read now is read while the pidfd is open, so both are of the same process.
                is_over = bool(select.select([pidfd], [], [], 0)[0])
                is_inside = self._container_of(parse_cgroup(process.read("cgroup")) or "") is not None
                if is_over or is_inside or not _belongs(process, uid):
                    return False
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            finally:
                os.close(pidfd)
            return True
        return False


def _checked(intent: ActionIntent) -> _Shadow:
    if intent.uid == 0:
        raise ActionRefused("root can't be locked")
    # usermod looks for --root and --prefix among all arguments, also after "--".
    if intent.user.startswith("-"):
        raise ActionRefused(f"usermod would take {printable(intent.user)} for an option")
    if intent.uid < _first_user() or intent.uid == _NOBODY:
        raise ActionRefused(f"user id {intent.uid} is that of a system account, on which services depend")
    shadow = _account(intent)
    others = [name for name, uid in _accounts() if uid == intent.uid and name != intent.user]
    if others:
        raise ActionRefused(f"the account {printable(others[0])} has the same user id")
    return shadow


def _account(intent: ActionIntent) -> _Shadow:
    """Return an account's fields of /etc/shadow. Raises ActionRefused if there is no such account on this host."""
    uids = [uid for name, uid in _accounts() if name == intent.user]
    if not uids:
        reason = "it may come from a directory service: lock it there"
        raise ActionRefused(f"{PASSWD} has no account {printable(intent.user)}; {reason}")
    if uids != [intent.uid]:
        found = ", ".join(map(str, uids))
        raise ActionRefused(f"the account {printable(intent.user)} has the user id {found}, not {intent.uid}")
    for fields in _rows(SHADOW):
        if fields[0] == intent.user and len(fields) >= 8:
            return _Shadow(fields[1], fields[7])
    raise ActionRefused(f"{SHADOW} has no line for {printable(intent.user)}")


def _accounts() -> Iterator[tuple[str, int]]:
    for fields in _rows(PASSWD):
        if len(fields) > 3 and fields[2].isdecimal():
            yield fields[0], int(fields[2])


def _rows(path: str) -> Iterator[list[str]]:
    text = read_file(path, _MAX_FILE)
    if text is None:
        raise ActionRefused(f"{path} can't be read")
    return (line.split(":") for line in text_of(text).split("\n") if line)


def _first_user() -> int:
    """Return UID_MIN. Source: login.defs(5)."""
    for line in text_of(read_file(LOGIN_DEFS, _MAX_FILE) or b"").split("\n"):
        words = line.split()
        if words[:1] == ["UID_MIN"] and len(words) > 1 and words[1].isdecimal():
            return int(words[1])
    return _FIRST_USER


def _restoring(expires: str | None, *, unlocks: bool) -> list[str]:
    return [*(["--unlock"] if unlocks else []), *([] if expires is None else [f"--expiredate={expires}"])]


def _command(options: list[str], user: str) -> list[str]:
    program = next((each for each in USERMOD if each.exists()), None)
    if program is None:
        raise ActionRefused("the program usermod isn't installed on this host")
    return [str(program), *options, "--", user]


def _usermod(options: list[str], user: str) -> None:
    command = _command(options, user)
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
            cwd="/",
            env={"LC_ALL": "C", "PATH": "/usr/sbin:/usr/bin"},
        )
    except subprocess.TimeoutExpired:
        raise OSError(f"usermod took longer than {_SECONDS} s") from None
    if done.returncode:
        raise OSError(f"usermod failed: {printable(text_of(done.stderr[:300]).strip())}")


def _own_line() -> Iterator[OpenProcess]:
    """Return this process and those that it descends from; each is open until the next one is requested."""
    pid = os.getpid()
    for _ in range(_MAX_ANCESTORS):
        with suppress(OSError), open_process(pid) as process:
            yield process
            stat = parse_stat(process.read("stat"))
            pid = 0 if stat is None else stat.ppid
        if pid <= 1:
            return


def _belongs(process: OpenProcess, uid: int) -> bool:
    """Return whether a process runs as a user or was started in a session of that user, as root also."""
    with suppress(OSError):
        status = parse_status(process.read("status"))
        if status is not None and uid in status.uids:
            return True
        return process.read("loginuid") == str(uid).encode()
    return False
