"""A throw-away Debian: namespaces of its own, on an overlay in memory that vanishes with them.

Its processes are ordinary ones of this kernel, so that the collector sees them. The guest's first process is either
systemd, or a shell that only waits for others, which starts ten times faster.
"""

import os
import re
import select
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Self, cast

from foundation.errors import LannerError

if TYPE_CHECKING:
    # It needs a library that a host with a collector may lack.
    from lanner.prove.sinkhole import Sinkhole

USER = "alice"
"""The user of tests that don't need root."""
CGROUPS = "lanner-guest-"
"""How the names of guests' cgroups begin."""
ATOMICS = "/opt/atomics"
"""Where the files of the tests are, in the guest."""
_START_SECONDS = 120.0
_ASKED_SECONDS = 3.0
_REMOVE_SECONDS = 30.0
_CGROUPS = Path("/sys/fs/cgroup")
_LIMITS = {
    "pids.max": "500",
    **dict.fromkeys(("memory.limit_in_bytes", "memory.max"), "2G"),
    "cpu.cfs_quota_us": "100000",
    "cpu.max": "100000 100000",
}
"""What a test can take; of processor time, that of one processor."""
_ENTER = 'for each in $CGROUPS; do echo $$ > $each/cgroup.procs; done; exec "$@"'
_START_SCRIPT = 'script=$LANNER_SCRIPT; unset LANNER_SCRIPT CGROUPS; exec "$0" -c "$script"'
_SCRIPT_WORDS = 3
_MAX_REASON = 200
_MAX_OUTPUT = 64 * 1024
_TYPED_SECONDS = 3.0
_HANG_UP_SECONDS = 12.0
_POLL_SECONDS = 0.05
_SIZE = "1g"
"""The size of the overlay: what a test that fills the disk can take."""
_WITHOUT = (
    *("sys_time", "sys_boot", "sys_module", "sys_rawio", "syslog", "audit_control", "wake_alarm", "mac_admin"),
    *("perfmon", "mknod"),
)
"""Capabilities with which a test would change the machine below the guest: its clock, its kernel, its disks."""
_CONFINED = ("setpriv", "--pdeathsig=KILL", "--bounding-set", ",".join(f"-{each}" for each in _WITHOUT), "--")
_NAMESPACES = ("--mount", "--pid", "--fork", "--kill-child=KILL", "--uts", "--ipc", "--net", "--cgroup")
_ENTERED = ("--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup")
_LEFT_OUT = (
    *("console-getty.service", "getty-static.service", "getty@tty1.service", "systemd-binfmt.service"),
    *("dev-hugepages.mount", "dev-mqueue.mount", "sys-fs-fuse-connections.mount", "systemd-remount-fs.service"),
    *("e2scrub_reap.service", "fstrim.timer", "systemd-machine-id-commit.service", "systemd-sysusers.service"),
    *("systemd-pcrphase.service", "systemd-pcrphase-sysinit.service", "systemd-update-utmp-runlevel.service"),
)
"""Units about hardware and consoles, without which a guest starts sooner."""
_MAKE = r"""
set -e
mount --make-rprivate /
mount -t tmpfs -o size=$SIZE,mode=755 lanner-guest "$WORK"
mkdir "$WORK/upper" "$WORK/work" "$WORK/root"
mount -t overlay overlay -o "lowerdir=$IMAGE,upperdir=$WORK/upper,workdir=$WORK/work" "$WORK/root"
cd "$WORK/root"
mkdir -p opt/atomics
# Prerequisites are compiled beside the tests.
[ -z "$ATOMICS" ] || {
    mkdir "$WORK/atomics" "$WORK/atomics-work"
    mount -t overlay overlay -o "lowerdir=$ATOMICS,upperdir=$WORK/atomics,workdir=$WORK/atomics-work" opt/atomics
}
mount -t proc proc proc
for each in proc/sys proc/sysrq-trigger; do
    [ ! -e $each ] || { mount --bind $each $each; mount -o remount,bind,ro $each; }
done
mount -t sysfs -o ro sysfs sys
mount -t tmpfs -o mode=755,size=1m dev dev
for each in null zero full random urandom tty; do touch dev/$each; mount --bind /dev/$each dev/$each; done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=666,mode=620,gid=5 devpts dev/pts
ln -s pts/ptmx dev/ptmx; ln -s /proc/self/fd dev/fd
ln -s fd/0 dev/stdin; ln -s fd/1 dev/stdout; ln -s fd/2 dev/stderr
mount -t tmpfs -o mode=1777,size=64m shm dev/shm
mount -t tmpfs -o mode=755,size=64m run run
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    mount -t cgroup2 cgroup sys/fs/cgroup
else
    mount -t tmpfs -o mode=755,size=1m cgroup sys/fs/cgroup
    mkdir sys/fs/cgroup/systemd
    mount -t cgroup -o none,name=systemd,xattr cgroup sys/fs/cgroup/systemd
fi
# An image that wasn't built for tests lacks their user.
grep -q "^$TESTER:" etc/passwd || {
    echo "$TESTER:x:1000:1000::/home/$TESTER:/bin/sh" >> etc/passwd
    echo "$TESTER:x:1000:" >> etc/group
    mkdir -p "home/$TESTER"
    chown 1000:1000 "home/$TESTER"
}
hostname guest
echo guest > etc/hostname
printf '127.0.0.1 localhost guest\n' > etc/hosts
ip link set lo up
# Every address is the guest's own, so that connections are made and sent on.
ip route add local default dev lo table local
ip -6 route add local default dev lo table local 2> /dev/null || :
[ -z "$CERTIFICATE" ] || {
    rm -f etc/resolv.conf
    echo nameserver 127.0.0.1 > etc/resolv.conf
    cat "$CERTIFICATE" >> etc/ssl/certs/ca-certificates.crt || :
}
# It can't have the kernel's audit here, and finds out late.
mkdir -p run/systemd/system/auditd.service.d
printf '[Service]\nTimeoutStartSec=2\n' > run/systemd/system/auditd.service.d/guest.conf
rm -f etc/systemd/system/multi-user.target.wants/auditd.service
for each in $LEFT_OUT; do ln -s /dev/null run/systemd/system/$each; done
pivot_root . mnt
cd /
umount -l /mnt
[ "$BOOTED" = 0 ] || exec env container=lanner /lib/systemd/systemd --log-target=null
exec sh -c 'while :; do sleep 3600 & wait $!; done'
"""


class NoGuest(LannerError):
    """A guest can't be started; the message is the reason."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command in a guest ended."""

    code: int | None
    """None if it was stopped, because it took too long."""
    output: str
    """The end of what it wrote."""


class Guest:
    """A running guest; use it as a context manager."""

    def __init__(self, image: Path, atomics: Path | None, *, booted: bool, sinkhole: "Sinkhole | None" = None) -> None:
        """Start a guest.

        Args:
            image: the root directory below the overlay, which isn't changed.
            atomics: the folder of tests, which isn't changed either; None for none.
            booted: whether systemd and its services run in it.
            sinkhole: answers its connections; None for nobody.

        Raises:
            NoGuest: the kernel or this machine's programs don't permit it.
        """
        if os.geteuid() != 0:
            raise NoGuest("a guest needs root")
        if missing := [
            name for name in ("unshare", "nsenter", "setpriv", "pivot_root", "ip") if shutil.which(name) is None
        ]:
            raise NoGuest(f"{missing[0]} is not installed")
        self.entering: set[int] = set()
        """Pids of the programs by which commands entered the guest: what they do is not the guest's."""
        self._work = tempfile.mkdtemp(prefix=CGROUPS)
        variables = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "IMAGE": str(image),
            "WORK": self._work,
            "ATOMICS": "" if atomics is None else str(atomics.resolve()),
            "CERTIFICATE": "" if sinkhole is None else str(sinkhole.certificate),
            "SIZE": _SIZE,
            "TESTER": USER,
            "LEFT_OUT": " ".join(_LEFT_OUT),
            "BOOTED": str(int(booted)),
        }
        self.booted, self._sinkhole = booted, sinkhole
        self._end_servers: Callable[[], None] = lambda: None
        self.cgroup = Path(self._work).name
        self._cgroups = make_cgroups(self.cgroup)
        variables["CGROUPS"] = " ".join(map(str, self._cgroups))
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  closed with the guest
        self._unshare = subprocess.Popen(
            ["/bin/sh", "-c", _ENTER, "sh", *_CONFINED, "unshare", *_NAMESPACES, "sh", "-c", _MAKE],
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            start_new_session=True,
        )
        try:
            self.init = self._first_process()
            self.start_ticks = _start_ticks(self.init)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        """Wait until it is up."""
        try:
            self._wait_until_up(booted=self.booted)
            # A port at which a service of its own listens isn't taken.
            if self._sinkhole is not None:
                self._end_servers = self._sinkhole.serve(self.init)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the guest."""
        self.close()

    def run(self, command: Sequence[str], *, user: str | None = None, seconds: float, typed: bool = False) -> Ended:
        """Run a command in the guest to its end.

        Args:
            command: program and arguments.
            user: whom it runs as; None for root.
            seconds: after so many, it and its children are killed.
            typed: give it a terminal, on which nothing is typed and which hangs up; else it reads nothing.
        """
        home = "/root" if user is None else f"/home/{user}"
        enter = ("nsenter", f"--target={self.init}", *_ENTERED, "--root", f"--wdns={home}", "--", *_CONFINED)
        return run_command(
            command, enter, self._cgroups, self.entering.add, user=user, home=home, seconds=seconds, typed=typed
        )

    @property
    def has_ended(self) -> bool:
        """Return whether its first process has ended, and all others with it."""
        return self._unshare.poll() is not None

    def kill(self) -> None:
        """End all its processes at once, from any thread; `close` still has to be called."""
        with suppress(ProcessLookupError):
            self._unshare.kill()

    def close(self) -> None:
        """Kill every process of the guest; its files vanish with them."""
        self._end_servers()
        self.kill()
        self._unshare.wait()
        self._errors.close()
        for cgroup in self._cgroups:
            remove_cgroup(cgroup)
        with suppress(OSError):
            Path(self._work).rmdir()

    def _first_process(self) -> int:
        """Return the pid of the guest's first process on this host."""
        children = Path(f"/proc/{self._unshare.pid}/task/{self._unshare.pid}/children")
        for _ in self._attempts():
            with suppress(OSError):
                if found := children.read_text().split():
                    return int(found[0])
        raise NoGuest("the guest didn't start in time")

    def _wait_until_up(self, *, booted: bool) -> None:
        """Wait until the root directory is the guest's, and systemd has started its services."""
        root = Path(f"/proc/{self.init}/root")
        name = Path(f"/proc/{self.init}/comm")
        state = ""
        for _ in self._attempts():
            with suppress(OSError):
                if booted and name.read_text().strip() == "systemd":
                    # It sometimes waits for a message that has been sent already.
                    state = self.run(["systemctl", "is-system-running", "--wait"], seconds=_ASKED_SECONDS).output
                    if re.search("running|degraded", state):
                        return
                elif not booted and (root / ATOMICS[1:]).exists() and not any((root / "mnt").iterdir()):
                    return
        raise NoGuest(f"the guest didn't start in time{': ' if state.strip() else ''}{state.strip()[-_MAX_REASON:]}")

    def _attempts(self) -> Iterator[None]:
        """Yield now and then until the guest must have started. Raises NoGuest if it has ended."""
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if self._unshare.poll() is not None:
                raise NoGuest(f"the guest didn't start: {self._reason()}")
            yield
            time.sleep(0.02)

    def _reason(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read(4096).decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "unshare failed"


def run_command(
    command: Sequence[str],
    enter: Sequence[str],
    cgroups: Sequence[Path],
    on_start: Callable[[int], object],
    *,
    user: str | None,
    group: str | None = None,
    home: str,
    seconds: float,
    typed: bool,
) -> Ended:
    """Run a command to its end.

    Args:
        command: program and arguments.
        enter: program and arguments that enter where it runs, before those of the command.
        cgroups: those that it joins.
        on_start: called with the pid of its first process.
        user: whom it runs as; None for root.
        group: the user's group; None for one of the same name.
        home: the user's home.
        seconds: after so many, it and its children are killed.
        typed: give it a terminal, on which nothing is typed for three seconds and which hangs up after twelve; else it
            reads nothing.
    """
    is_script = len(command) == _SCRIPT_WORDS and command[1] == "-c"
    # Rules about arguments must not match those of the programs by which a script starts.
    command, script = (("/bin/sh", "-c", _START_SCRIPT, command[0]), command[2]) if is_script else (command, "")
    # By setresuid(2): runuser and su fork, use PAM and call setuid(2), which rules would report of the test.
    became = ("setpriv", f"--reuid={user}", f"--regid={group or user}", "--init-groups", "--")
    words = [*command] if user is None else [*became, *command]
    if typed:
        hang_up = ("timeout", f"--kill-after={_TYPED_SECONDS}", str(_HANG_UP_SECONDS))
        words = [*hang_up, "script", "-qec", shlex.join(words), "/dev/null"]
    variables = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": home,
        "TERM": "xterm",
        "CGROUPS": " ".join(map(str, cgroups)),
        "LANNER_SCRIPT": script,
        "USER": user or "root",
        "LOGNAME": user or "root",
        "SHELL": "/bin/bash",
        "LANG": "C.UTF-8",
    }
    child = subprocess.Popen(
        ["/bin/sh", "-c", _ENTER, "sh", *enter, *words],
        env=variables,
        stdin=subprocess.PIPE if typed else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    on_start(child.pid)
    tail = bytearray()
    with child:
        code = _follow(child, tail, min(_TYPED_SECONDS, seconds)) if typed else None
        if child.stdin is not None:
            with suppress(OSError):
                child.stdin.close()
        code = _follow(child, tail, seconds) if code is None else code
        if code is None:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
    return Ended(code, tail.decode(errors="replace"))


def make_cgroups(name: str) -> list[Path]:
    """Create a guest's cgroups, whose limits a test can't exceed: the one of version 2, or some of version 1."""
    is_unified = (_CGROUPS / "cgroup.controllers").exists()
    found = [
        parent / name
        for parent in ([_CGROUPS] if is_unified else [_CGROUPS / each for each in ("systemd", "pids", "memory", "cpu")])
        if (parent / "cgroup.procs").exists()
    ]
    for cgroup in found:
        cgroup.mkdir()
        for limit, value in _LIMITS.items():
            with suppress(OSError):
                (cgroup / limit).write_text(value)
    return found


def remove_cgroup(cgroup: Path) -> None:
    """Remove a cgroup with those below it, once the last of its processes has gone."""
    deadline = time.monotonic() + _REMOVE_SECONDS
    while cgroup.exists() and time.monotonic() < deadline:
        for folder, _, _ in os.walk(cgroup, topdown=False):
            with suppress(OSError):
                Path(folder).rmdir()
        time.sleep(0.01)


def _follow(child: "subprocess.Popen[bytes]", tail: bytearray, seconds: float) -> int | None:
    """Read what a command writes, of which the end is stored, until it ends; return its exit code, None if it runs on.

    What it leaves in the background may write on: nobody waits for that.
    """
    output, deadline = cast("IO[bytes]", child.stdout).fileno(), time.monotonic() + seconds
    is_open, unread = True, _MAX_OUTPUT
    while (rest := deadline - time.monotonic()) > 0:
        has_ended = child.poll() is not None
        if is_open and select.select([output], [], [], 0 if has_ended else min(rest, _POLL_SECONDS))[0]:
            data = os.read(output, _MAX_OUTPUT)
            is_open = bool(data)
            tail += data
            del tail[:-_MAX_OUTPUT]
            # A pipe holds no more than this of what a command wrote before it ended.
            unread -= len(data) if has_ended else 0
        elif not has_ended and not is_open:
            time.sleep(min(rest, _POLL_SECONDS))
        if has_ended and (not is_open or unread <= 0 or not select.select([output], [], [], 0)[0]):
            return child.returncode
    return None


def _start_ticks(pid: int) -> int:
    """Return when a process started, in clock ticks after boot. Source: proc(5), field starttime."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
