"""Where cases are played: mount and network namespaces of their own on this host, or a container.

On the host, the root is an overlay of the real one, with /dev, /home, /root, /tmp and /var/log empty, and what is
written goes to memory; the network is a loopback interface with the addresses that the cases talk to. All of it ends
with the stage.
"""

import pwd
import subprocess
import tarfile
import threading
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryFile

from tests.live.containers import BUSYBOX_PROGRAM, FILES, Docker
from tests.live.dockerd import PRIVILEGED_RUNTIME
from tests.live.evtgen.plans import PROGRAMS, Plan, Users, Where

_WORD, _OPERATION, _FIELD, _CASE = "\x1f", "\x1e", "\x1c", "\x1d"
_LIMIT_SECONDS = 120
_FIRST_MADE_UID = 900

# A device 0, 0 in the upper layer hides what is below it (kernel: filesystems/overlayfs.rst).
_PREPARE_HOST = """
set -e
mount -t tmpfs none /mnt
mkdir -p /mnt/upper/var /mnt/work /mnt/root
for place in home root tmp var/log dev; do mknod "/mnt/upper/$place" c 0 0; done
mount -t overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work none /mnt/root
cd /mnt/root
mount --rbind /proc proc
for place in home root tmp var/log dev; do mkdir "$place"; done
chmod 1777 tmp
mkdir dev/shm
mknod -m 666 dev/null c 1 3
mount -t tmpfs none mnt
mkdir {folder}
cp "$1" {folder}/.stage
shift
while [ "$1" != -- ]; do ln {folder}/.stage "{folder}/$1"; shift; done
shift
ip link set lo up
for address; do ip address add "$address" dev lo; done
mkdir old
pivot_root . old
cd /
umount --lazy /old
rmdir /old
exec {programs}/.stage
"""


@dataclass(slots=True)
class Played:
    """What the actor reported about a case."""

    container: str
    """The container's full id; empty on the host."""
    pids: list[int] = field(default_factory=list)
    """Ids of the chain's processes, as seen inside the stage; the last is the acting process."""
    calls: list[tuple[str, int]] = field(default_factory=list)
    """System calls and their results; -errno where they failed."""
    failures: list[str] = field(default_factory=list)


def host_users() -> Users:
    """Return this host's users."""
    return {entry.pw_name: (entry.pw_uid, entry.pw_gid) for entry in pwd.getpwall()}


def made_users(names: Iterable[str]) -> Users:
    """Return a container's users: the requested ones, with the host's numbers where it has them."""
    known = host_users()
    missing = sorted(name for name in names if name not in known)
    return {
        **{name: known[name] for name in names if name in known},
        **{name: (number, number) for number, name in enumerate(missing, _FIRST_MADE_UID)},
        "root": (0, 0),
    }


def play_on_host(plans: Sequence[Plan], actor: Path) -> dict[str, Played]:
    """Play cases on this host; raises AssertionError where the stage can't be made."""
    names = sorted(frozenset[str]().union(*(plan.programs for plan in plans)))
    addresses = sorted(frozenset[str]().union(*(plan.addresses for plan in plans)))
    prepare = _PREPARE_HOST.format(programs=PROGRAMS, folder=PROGRAMS[1:])
    command = ["unshare", "--mount", "--net", "sh", "-c", prepare, "sh", str(actor), *names, "--", *addresses]
    return _play(command, plans, host_users(), "")


def play_in_container(
    plans: Sequence[Plan], actor: Path, docker: Docker, where: Where, await_facts: Callable[[], None], left: ExitStack
) -> dict[str, Played]:
    """Play cases in one container of that kind, which has a loopback interface only.

    Args:
        plans: the cases.
        actor: the program that plays them.
        docker: runs the container.
        where: its kind.
        await_facts: called once it runs; returns when the collector has its facts, which events wait for only so long.
        left: removes it, when nothing needs its files any more.
    """
    users = made_users({words[2] for plan in plans for words in plan.script if words[0] == "exec"})
    image = f"lanner-tests/evtgen:{where.name.lower()}"
    tar = docker.daemon.base / f"evtgen-{where.name.lower()}.tar"
    _write_image(tar, plans, actor, users)
    docker.daemon.load(tar, image)
    name = f"evtgen-{uuid.uuid4().hex[:8]}"
    kind = ("--privileged", "--runtime", PRIVILEGED_RUNTIME) if where is Where.PRIVILEGED else ()
    network = ("--network", "none", "--sysctl", "net.ipv6.conf.all.disable_ipv6=0")
    docker.daemon.client("create", "--interactive", "--name", name, *network, *kind, image, f"{PROGRAMS}/.stage")
    left.callback(docker.daemon.client, "rm", "--force", "--volumes", name, check=False)
    # Attached only when it runs: the addresses have to be there before the first case comes.
    docker.daemon.client("start", name)
    pid, full_id = docker.inspect(name, "{{.State.Pid}} {{.Id}}").split()
    for address in sorted(frozenset[str]().union(*(plan.addresses for plan in plans))):
        enter = ["nsenter", f"--net=/proc/{pid}/ns/net"]
        subprocess.run([*enter, "ip", "address", "add", address, "dev", "lo"], check=True, timeout=10)
    await_facts()
    return _play(docker.daemon.client_command("attach", name), plans, users, full_id)


def _play(command: Sequence[str], plans: Sequence[Plan], users: Users, container: str) -> dict[str, Played]:
    # What sleeps goes first.
    order = sorted(plans, key=lambda plan: not plan.parallel)
    text = _CASE.join(_encode(plan, users) for plan in order)
    played: dict[str, Played] = defaultdict(lambda: Played(container))
    with TemporaryFile() as cases, TemporaryFile() as errors:
        cases.write(text.encode("utf-8", "surrogateescape"))
        cases.seek(0)
        actor = subprocess.Popen(command, stdin=cases, stdout=subprocess.PIPE, stderr=errors, cwd="/")
        limit = threading.Timer(_LIMIT_SECONDS, actor.kill)
        limit.start()
        try:
            assert actor.stdout is not None
            for line in actor.stdout:
                kind, case_id, what, number = line.decode(errors="replace").split()
                if kind == "p":
                    played[case_id].pids.append(int(number))
                elif kind == "c":
                    played[case_id].calls.append((what, int(number)))
                elif kind == "f":
                    played[case_id].failures.append(f"{what}: errno {number}")
                else:
                    return dict(played)
            code = actor.wait()
        finally:
            limit.cancel()
            actor.kill()
            actor.communicate()
        errors.seek(0)
        assert code == 0, f"the stage ended with {code}: {errors.read().decode(errors='replace')}"
    return dict(played)


def _encode(plan: Plan, users: Users) -> str:
    script = _OPERATION.join(_WORD.join(_with_numbers(words, users)) for words in plan.script)
    return _FIELD.join((plan.case_id, "1" if plan.parallel else "0", script))


def _with_numbers(words: tuple[str, ...], users: Users) -> tuple[str, ...]:
    if words[0] != "exec":
        return words
    uid, gid = users[words[2]]
    return (*words[:2], str(uid), str(gid), *words[3:])


def _write_image(target: Path, plans: Sequence[Plan], actor: Path, users: Users) -> None:
    passwd = "".join(f"{name}:x:{uid}:{gid}:{name}:/:/bin/sh\n" for name, (uid, gid) in users.items())
    group = "".join(f"{name}:x:{gid}:\n" for name, (_, gid) in users.items())
    with tarfile.open(target, "w") as tar:
        for name in ("tmp", "root", "dev", "mnt"):
            _add(tar, name, tarfile.DIRTYPE, mode=0o1777 if name == "tmp" else 0o755)
        _add(tar, "bin/busybox", tarfile.REGTYPE, BUSYBOX_PROGRAM.read_bytes(), mode=0o755)
        _add(tar, "bin/sh", tarfile.SYMTYPE, link="busybox")
        for path, text in {**FILES, "etc/passwd": passwd.encode(), "etc/group": group.encode()}.items():
            _add(tar, path, tarfile.REGTYPE, text, mode=0o600 if path == "etc/shadow" else 0o644)
        first = f"{PROGRAMS[1:]}/.stage"
        _add(tar, first, tarfile.REGTYPE, actor.read_bytes(), mode=0o755)
        for name in sorted(frozenset[str]().union(*(plan.programs for plan in plans))):
            _add(tar, f"{PROGRAMS[1:]}/{name}", tarfile.LNKTYPE, link=first, mode=0o755)


def _add(tar: tarfile.TarFile, name: str, kind: bytes, content: bytes = b"", *, link: str = "", mode: int = 0) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.size, entry.linkname, entry.mode = kind, len(content), link, mode
    tar.addfile(entry, BytesIO(content))
