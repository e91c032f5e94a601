"""Every fact of a process equals what the process itself, /proc or the user files show."""

import grp
import os
import pwd
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.collector.watching import Watching, watching

ACT = r"""
import json, os, sys
open("/etc/hostname").close()
stat = open("/proc/self/stat").read().rsplit(") ", 1)[1].split()
status = dict(line.split(":\t", 1) for line in open("/proc/self/status") if ":\t" in line)
tty = int(stat[4])
print(json.dumps({
    "pid": os.getpid(), "ppid": os.getppid(), "pgid": os.getpgid(0), "sid": os.getsid(0), "cwd": os.getcwd(),
    "exepath": os.readlink("/proc/self/exe"), "tty": tty, "loginuid": int(open("/proc/self/loginuid").read()),
    "uid": os.geteuid(), "gid": os.getegid(), "start_ticks": int(stat[19]),
    "cmdline": open("/proc/self/cmdline", "rb").read().decode().rstrip("\0").split("\0"),
    "comm": open("/proc/self/comm").read().strip(), "parent": open(f"/proc/{os.getppid()}/comm").read().strip(),
    "capeff": status["CapEff"].strip(), "capprm": status["CapPrm"].strip(), "capinh": status["CapInh"].strip(),
    "exe_ino": os.stat("/proc/self/exe").st_ino, "ctime": os.stat("/proc/self/exe").st_ctime_ns,
    "mtime": os.stat("/proc/self/exe").st_mtime_ns,
}))
"""


@pytest.fixture(scope="module")
def watch() -> Iterator[Watching]:
    """Watch the event types of these tests."""
    with watching(
        "open", "openat", "execve", "execveat", "chdir", "setuid", "setsid", "prctl", "clone", "procexit"
    ) as running:
        yield running


def test_identity_group_and_session_are_those_of_the_process(watch: Watching) -> None:
    """Its process ids are its own."""
    truth = watch.python(ACT, start_new_session=True)

    event = watch.one(proc__pid=truth["pid"], fd__name="/etc/hostname")

    assert event["proc.ppid"] == truth["ppid"] == os.getpid()
    assert event["proc.sid"] == truth["sid"] == truth["pid"]
    assert event["proc.pgid"] == truth["pgid"]
    assert event["proc.vpid"] == truth["pid"]
    assert event["proc.vpgid"] == truth["pgid"]
    assert event["thread.tid"] == truth["pid"]
    assert event["thread.vtid"] == truth["pid"]
    assert event["thread.ismain"] is True
    assert event["proc.is_sid_leader"] is True
    assert event["proc.is_vpgid_leader"] is True
    assert event["proc.is_pgid_leader"] is True
    assert event["proc.sname"] == truth["comm"]


@pytest.mark.parametrize(
    ("ending", "arguments"),
    [
        ("os._exit(7)", {"status": "1792", "ret": "7", "sig": "0", "core": "0"}),
        ("os.kill(os.getpid(), 9)", {"status": "9", "ret": "0", "sig": "SIGKILL", "core": "0"}),
    ],
)
def test_the_end_of_a_process_reports_how_it_ended(watch: Watching, ending: str, arguments: dict[str, str]) -> None:
    """Its facts are those before the end, as /proc no longer has it; that doesn't count as a loss."""
    before = watch.collector.losses.get("process_stale", 0)
    watch.run(sys.executable, "-I", "-c", f"import os; {ending}", f"for {ending}", check=False)

    event = watch.one(
        evt__type="procexit", proc__cmdline=f"{Path(sys.executable).name} -I -c import os; {ending} for {ending}"
    )

    assert {name: str(event[f"evt.arg.{name}"]) for name in arguments} == arguments
    assert event["proc.pname"] == Path("/proc/self/comm").read_text().strip()
    assert watch.collector.losses.get("process_stale", 0) == before


def test_program_and_arguments_are_those_in_proc(watch: Watching) -> None:
    """The program is shown by name, path and every argument."""
    truth = watch.python(ACT, "one", "two words", cwd="/usr/share")

    event = watch.one(proc__pid=truth["pid"], fd__name="/etc/hostname")

    arguments = truth["cmdline"]
    assert event["proc.name"] == truth["comm"]
    assert event["proc.exe"] == arguments[0]
    assert event["proc.exepath"] == truth["exepath"]
    assert event["proc.args"] == " ".join(arguments[1:])
    assert event["proc.cmdline"] == " ".join([truth["comm"], *arguments[1:]])
    assert event["proc.cwd"].rstrip("/") == truth["cwd"]
    assert event["proc.pname"] == truth["parent"]
    assert event["proc.exe_ino"] == truth["exe_ino"]
    assert event["proc.exe_ino.ctime"] == truth["ctime"]
    assert event["proc.exe_ino.mtime"] == truth["mtime"]


def test_user_group_login_and_capabilities_are_those_in_proc(watch: Watching) -> None:
    """The user is shown by number and by name."""
    nobody, nogroup = pwd.getpwnam("nobody"), grp.getgrnam("nogroup")
    truth = watch.python(ACT, user=nobody.pw_uid, group=nogroup.gr_gid)

    event = watch.one(proc__pid=truth["pid"], fd__name="/etc/hostname")

    assert (event["user.uid"], event["user.name"]) == (truth["uid"], "nobody")
    assert (event["group.gid"], event["group.name"]) == (truth["gid"], "nogroup")
    assert event["user.homedir"] == nobody.pw_dir
    assert event["user.shell"] == nobody.pw_shell
    assert event["user.loginuid"] == (-1 if truth["loginuid"] == 2**32 - 1 else truth["loginuid"])
    for field, key in (("effective", "capeff"), ("permitted", "capprm"), ("inheritable", "capinh")):
        assert (event[f"thread.cap_{field}"] or "").split() == capability_names(int(truth[key], 16))


def capability_names(bits: int) -> list[str]:
    """Name the capabilities in a mask, after include/uapi/linux/capability.h."""
    names = [
        "CHOWN",
        "DAC_OVERRIDE",
        "DAC_READ_SEARCH",
        "FOWNER",
        "FSETID",
        "KILL",
        "SETGID",
        "SETUID",
        "SETPCAP",
        "LINUX_IMMUTABLE",
        "NET_BIND_SERVICE",
        "NET_BROADCAST",
        "NET_ADMIN",
        "NET_RAW",
        "IPC_LOCK",
        "IPC_OWNER",
        "SYS_MODULE",
        "SYS_RAWIO",
        "SYS_CHROOT",
        "SYS_PTRACE",
        "SYS_PACCT",
        "SYS_ADMIN",
        "SYS_BOOT",
        "SYS_NICE",
        "SYS_RESOURCE",
        "SYS_TIME",
        "SYS_TTY_CONFIG",
        "MKNOD",
        "LEASE",
        "AUDIT_WRITE",
        "AUDIT_CONTROL",
        "SETFCAP",
        "MAC_OVERRIDE",
        "MAC_ADMIN",
        "SYSLOG",
        "WAKE_ALARM",
        "BLOCK_SUSPEND",
        "AUDIT_READ",
        "PERFMON",
        "BPF",
        "CHECKPOINT_RESTORE",
    ]
    return [f"CAP_{name}" for number, name in enumerate(names) if bits >> number & 1]


def test_capabilities_of_root_are_named(watch: Watching) -> None:
    """A process with capabilities has them in its fields."""
    truth = watch.python(ACT)

    event = watch.one(proc__pid=truth["pid"], fd__name="/etc/hostname")

    assert event["thread.cap_effective"].split() == capability_names(int(truth["capeff"], 16))


def test_start_and_duration_are_those_of_the_process(watch: Watching) -> None:
    """The start is the kernel's, to the tick that /proc shows."""
    truth = watch.python(ACT)

    event = watch.one(proc__pid=truth["pid"], fd__name="/etc/hostname")

    boot_start = event["proc.pid.ts"] - watch.collector._table.boot_to_epoch
    assert boot_start // 10_000_000 == truth["start_ticks"]
    assert 0 < event["proc.duration"] < 10**10


def test_a_terminal_has_its_device_number(watch: Watching) -> None:
    """34816 is the first pseudo-terminal; the process sees the same number of its own."""
    code = (
        "import os, pty, sys\n"
        "pid, fd = pty.fork()\n"
        "if pid == 0: os.execv(sys.executable, [sys.executable, '-I', '-c', sys.argv[1]])\n"
        "out = b''\n"
        "while True:\n"
        "    try: piece = os.read(fd, 4096)\n"
        "    except OSError: break\n"
        "    out += piece\n"
        "os.waitpid(pid, 0); print(out.decode())\n"
    )
    truth = watch.python(code, ACT)

    event = watch.one(proc__pid=truth["pid"], fd__name="/etc/hostname")

    assert event["proc.tty"] == truth["tty"]
    assert event["proc.tty"] >> 8 == 136


def test_ancestors_are_known_up_to_the_test(watch: Watching) -> None:
    """A chain of shells shows in order, by name, path and command line."""
    done = watch.run("/bin/sh", "-c", "/bin/bash -c '/bin/dash -c \"cat /etc/issue; true\"; true'; true")
    assert done.returncode == 0

    event = watch.events(proc__name="cat", fd__name="/etc/issue")[-1]

    assert [event[f"proc.aname[{n}]"] for n in (1, 2, 3)] == ["dash", "bash", "sh"]
    assert event["proc.apid[4]"] == os.getpid()
    assert event["proc.aexepath[2]"] == os.path.realpath("/bin/bash")
    assert event["proc.acmdline[1]"].startswith("dash -c cat")
    assert event["proc.pcmdline"].startswith("dash -c cat")
    assert event["proc.ppid.duration"] >= 0


@pytest.mark.parametrize("padding", [0, 5000])
def test_arguments_that_are_not_read_are_reported(watch: Watching, padding: int) -> None:
    """Text behind 4 KB of padding is hidden, and a rule can see that there is more."""
    watch.run("cat", *(["-u"] * (padding // 3)), "/etc/debian_version")

    event = watch.events(fd__name="/etc/debian_version")[-1]

    assert event["proc.args.truncated"] is (padding > 0)
    assert event["proc.cmdline"].endswith("/etc/debian_version") is not event["proc.args.truncated"]
    assert event["proc.env.truncated"] is False


def test_an_exec_from_a_thread_keeps_the_pid(watch: Watching) -> None:
    """A thread that execs becomes the process, and no other name is shown."""
    code = (
        "import os,threading\n"
        "threading.Thread(target=lambda: os.execv('/bin/cat', ['cat', '/etc/debian_version'])).start()\n"
        "import time; time.sleep(5)\n"
    )
    watch.run("/usr/bin/python3", "-I", "-c", code)

    event = watch.events(fd__name="/etc/debian_version")[-1]

    assert event["proc.name"] == "cat"
    assert event["proc.pid"] == event["thread.tid"]
    assert event["proc.cmdline"] == "cat /etc/debian_version"


def test_a_file_opened_by_a_thread_is_its_process_s(watch: Watching) -> None:
    """The thread has its own number, the process its name."""
    code = (
        "import os,threading,json\n"
        "seen={}\n"
        "def act():\n"
        " seen['tid']=threading.get_native_id(); open('/etc/issue.net').close()\n"
        "t=threading.Thread(target=act); t.start(); t.join(); seen['pid']=os.getpid(); print(json.dumps(seen))\n"
    )
    truth = watch.python(code)

    event = watch.one(fd__name="/etc/issue.net", proc__pid=truth["pid"])

    assert event["thread.tid"] == truth["tid"] != truth["pid"]
    assert event["thread.ismain"] is False


def test_a_change_of_folder_user_and_name_shows_at_the_next_event(watch: Watching) -> None:
    """State-changing calls are followed."""
    code = (
        "import os,json,ctypes\n"
        "os.chdir('/usr/lib'); os.setsid() if os.getpid()!=os.getsid(0) else None\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "open('/etc/os-release').close(); print(json.dumps(os.getpid()))\n"
    )
    pid = watch.python(code)

    event = watch.one(fd__name="/etc/os-release", proc__pid=pid)

    assert event["proc.cwd"].rstrip("/") == "/usr/lib"
    assert (event["user.uid"], event["user.name"], event["group.gid"]) == (65534, "nobody", 65534)
    assert event["proc.sid"] == pid
    assert not event["thread.cap_effective"]
