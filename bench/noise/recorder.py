"""Records kinds of ordinary work, all at the same time, each in a file of its own.

A file holds the events of its kind's processes and of nothing else on this machine, as the collector made them; only
the names of the host and of temporary folders are replaced.
"""

import contextlib
import hashlib
import os
import pwd
import subprocess
import tempfile
import threading
import time
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.noise.containers import work_with_containers
from bench.noise.count import compiled_rules
from bench.noise.host import KINDS, host_to_record
from bench.noise.kubernetes import PACKAGES, adopt_orphans, kubernetes_work, names_of_node
from collector.agent import Collector
from collector.processes.container_names import ContainerName, Isolation, host_mount_namespaces
from collector.processes.parts import ProcessContext
from collector.settings import CollectorSettings
from processor.pushdown.derive import derive
from schemas.batch import EventBatch, Process, ProgramFile
from schemas.catalog.system_calls import ANSWERED
from schemas.encoding.batch import encode_batch
from schemas.encoding.recording import RecordingWriter
from schemas.filter import PROGRAM_FILES
from tests.live.anonymous import anonymous
from tests.live.containers import Docker
from tests.live.dockerd import Dockerd
from tests.live.ordinary_host import QUIET, OrdinaryHost

CONTAINERS = "containers"
KUBERNETES = "kubernetes"
HOST_KINDS = tuple(sorted(path.stem for path in KINDS.glob("*.sh") if path.stem not in ("lib", KUBERNETES)))
ALL_KINDS = (*HOST_KINDS, CONTAINERS, KUBERNETES)
WIDE = Path(__file__).with_name("wide.yaml")
_LEFT_OUT = "-sys_time,-sys_module,-sys_boot,-syslog,-audit_control"
"""Capabilities that work lacks: what they allow would change this machine."""
_CHROOTED = ("roots",)
"""Work in the mount namespace of this machine: paths after a further chroot are known only there."""
_ENTER = 'mount -t proc none "$0/proc"; exec chroot "$0" "$@"'
_CHROOT = ("unshare", "--pid", "--fork", "--kill-child", "sh", "-c", _ENTER)
_OF_SYSTEM = ("/usr/bin/", "/usr/sbin/", "/usr/lib", "/usr/share/", "/etc/", "/bin/", "/sbin/", "/lib")
"""Where packages have programs and scripts."""
_DETACHED, _RUNTIME = "/", "usr/bin/crun"
"""The path of a program in a detached mount, and what runs from one."""
_BATCH_SECONDS = 5.0
_BATCH_EVENTS = 2_000
_SMALL = 9
_LEVELS_OF_HOST = 2
"""Pid namespaces that a process of a recorded host is in: this machine's and the host's."""
_FIRST_USER = 1_000


class Recording:
    """A file of batches, renumbered, that anybody may read."""

    def __init__(self, path: Path, *, level: int = _SMALL) -> None:
        """Create or replace the file; level: of its compression, 0 for none. Raises OSError."""
        self.path = path
        self.events = 0
        self._sequence = 0
        self._writer = RecordingWriter(path, level=level)
        path.chmod(0o644)

    def write(self, batch: EventBatch) -> None:
        """Append a batch. Raises OSError."""
        self._sequence += 1
        batch.sequence, batch.first_number = self._sequence, self.events + 1
        self.events += batch.count
        self._writer.write(encode_batch(batch))

    def close(self) -> None:
        """Close the file. Raises OSError."""
        self._writer.close()


class _IsolationInHosts(Isolation):
    """Finds containers on the recorded hosts as on any other: each of these is in a pid namespace of its own."""

    def __init__(self) -> None:
        super().__init__(host_mount_namespaces())
        self._hosts: set[int] = set()
        """Pid namespaces of recorded hosts, by inode number."""

    def container_of(self, pid: int, context: ProcessContext) -> ContainerName | None:
        found = super().container_of(pid, context)
        if found is None:
            return None
        with contextlib.suppress(OSError):
            status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
            ids = next(row for row in status.splitlines() if row.startswith("NSpid:")).split()[1:]
            if len(ids) > _LEVELS_OF_HOST:
                return found
            # The context's is that of children, which a runtime changes before it starts the container's process.
            self._hosts.add(Path(f"/proc/{pid}/ns/pid").stat().st_ino)
            return None
        return None if context.pid_namespace in self._hosts else found


@dataclass(frozen=True, slots=True)
class _Split:
    """Stores each event in the file of the kind whose process it comes from."""

    files: Mapping[int, Recording]
    """By the process that the kind's processes descend from."""
    rewrite: tuple[tuple[str, str], ...]
    host: OrdinaryHost
    packages: dict[str, str] = field(default_factory=dict)
    """The packages of the host's files, by path; work installs more."""

    def take(self, batch: EventBatch) -> None:
        owners = [_owner(batch.processes, row, self.files) for row in range(len(batch.processes))]
        present = {owners[row] for row in batch.columns["process"][: batch.count]}
        for root in self.files.keys() & present:
            pids = {process.pid for process, owner in zip(batch.processes, owners, strict=True) if owner == root}

            def is_of_kind(process: Process, above: frozenset[int], pids: set[int] = pids, root: int = root) -> bool:
                # A process id may be another process's, too, whose ancestors are unknown.
                return process.pid in pids and root in above

            stored = anonymous(batch, root, is_of_kind, self.rewrite)
            self.files[root].write(replace(stored, processes=[self._known(each) for each in stored.processes]))

    def _known(self, process: Process) -> Process:
        """Return a process with the packages of its program and script: the collector reads no other root's databases.

        It is one below /tmp, and mostly in another mount namespace.
        """
        program = self._packaged(process.file, process.exepath)
        script = process.script and self._packaged(process.script, process.script.path)
        return replace(process, file=program, script=script)

    def _packaged(self, file: ProgramFile | None, path: str | None) -> ProgramFile | None:
        if file is None or path is None or file.origin != "dropped":
            return file
        if path == _DETACHED and file.sha256 == self._runtime():
            path = f"/{_RUNTIME}"
        if path not in self.packages and path.startswith(_OF_SYSTEM):
            self.packages.update(_packages_of(self.host))
            self.packages.setdefault(path, "")
        package = self.packages.get(path)
        return replace(file, origin="package", package=package) if package else file

    def _runtime(self) -> str:
        with (self.host.root / _RUNTIME).open("rb") as program:
            return hashlib.file_digest(program, "sha256").hexdigest()


def _packages_of(host: OrdinaryHost) -> dict[str, str]:
    found = {}
    for path in (host.root / "var/lib/dpkg/info").glob("*.list"):
        for row in path.read_text(encoding="utf-8").splitlines():
            # Packages of Debian 12 name some files by /bin and /lib, which are links.
            merged = f"/usr{row}" if row.startswith(("/bin/", "/sbin/", "/lib")) else row
            found[merged] = path.stem.partition(":")[0]
    return found


def _owner(processes: Sequence[Process], row: int, roots: Container[int]) -> int:
    """Return the nearest of these processes that a process descends from, 0 if from none or if it is one of them."""
    if processes[row].pid in roots:
        return 0
    while (row := processes[row].parent) >= 0:
        if processes[row].pid in roots:
            return processes[row].pid
    return 0


def record(folder: Path, minutes: float, rules: Iterable[Sequence[Path]], kinds: Sequence[str]) -> None:
    """Record each kind for a time.

    Args:
        folder: receives a file for each kind.
        minutes: how long the work goes on.
        rules: sets of rule files; everything that any of them needs is recorded, and what wide.yaml names.
        kinds: names of kinds.
    """
    adopt_orphans()
    compiled = [compiled_rules(paths, disabled=True) for paths in (*rules, [WIDE])]
    types = frozenset().union(*(each.event_types for each in compiled))
    conditions = [condition for each in compiled for condition in each.conditions]
    with contextlib.ExitStack() as stack:
        temporary = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lanner-noise-")))
        host = stack.enter_context(host_to_record())
        daemon = stack.enter_context(Dockerd()) if CONTAINERS in kinds else None
        docker = Docker(daemon) if daemon else None
        if docker is not None:
            docker.debian()
            docker.busybox()
        node, socket, layers = stack.enter_context(kubernetes_work(temporary)) if KUBERNETES in kinds else (None,) * 3
        batches: list[EventBatch] = []
        # No environment: a recording is public.
        variables = frozenset({PROGRAM_FILES})
        settings = CollectorSettings(
            variables=variables,
            cache=temporary,
            flush_seconds=_BATCH_SECONDS,
            flush_events=_BATCH_EVENTS,
            cri_sockets=(socket,) if socket else (),
            **({"docker_socket": daemon.socket} if daemon else {}),
        )
        collector = Collector(
            types | frozenset(ANSWERED),
            on_batch=batches.append,
            pushdown_filter=derive(conditions, types, variables=variables, names=True),
            settings=settings,
            isolation=_IsolationInHosts(),
        )
        collector.start()
        stack.callback(collector.stop)
        stack.callback(_remove_control_groups)
        print(f"recording {', '.join(kinds)} for {minutes:g} minutes")
        work = {kind: stack.enter_context(_started(host, kind)) for kind in kinds if kind in HOST_KINDS}
        work |= {KUBERNETES: node} if node else {}
        roots = {kind: process.pid for kind, process in work.items()}
        if docker is not None:
            stack.enter_context(_containers(docker, temporary))
            roots[CONTAINERS] = os.getpid()
        folder.mkdir(parents=True, exist_ok=True)
        files = {root: Recording(folder / f"{kind}.avro") for kind, root in roots.items()}
        # Longest first: a replaced path must not match part of another.
        names = [
            (f"{host.root}/", "/"),
            (str(host.root), "/"),
            (str(temporary), "/srv/work"),
            (str(Path.cwd()), "/srv/lanner"),
        ]
        names += _names_of_users(host)
        names += names_of_node(layers) if layers else []
        names += [(str(daemon.base), "/run/docker")] if daemon else []
        split = _Split(files, tuple(names), host, dict(PACKAGES) if node else {})
        deadline = time.monotonic() + 60 * minutes
        while time.monotonic() < deadline:
            collector.poll(0.1)
            while batches:
                split.take(batches.pop(0))
        for kind, process in work.items():
            if process.poll() is not None:
                print(f"{kind}: ended early, with code {process.returncode}")
        print(f"lost: {dict(collector.losses)}")
        for file in files.values():
            file.close()
            print(f"{file.path.stem}: {file.events:,} events, {file.path.stat().st_size:,} bytes")


def _names_of_users(host: OrdinaryHost) -> Iterator[tuple[str, str]]:
    """Yield what this machine calls the host's own users, and their names."""
    for row in (host.root / "etc/passwd").read_text(encoding="utf-8").splitlines():
        name, _, uid = row.split(":")[:3]
        if int(uid) >= _FIRST_USER:
            with contextlib.suppress(KeyError):
                yield pwd.getpwuid(int(uid)).pw_name, name


@contextlib.contextmanager
def _started(host: OrdinaryHost, kind: str) -> Iterator["subprocess.Popen[bytes]"]:
    script = f"/usr/local/lib/ordinary/{kind}.sh"
    inside = [*_CHROOT, str(host.root), "bash", script] if kind in _CHROOTED else host.command("bash", script)
    command = ["setpriv", f"--bounding-set={_LEFT_OUT}", "unshare", "--net", *inside]
    with subprocess.Popen(
        command, cwd="/", env=QUIET, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield process
        finally:
            process.kill()
            for row in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
                if (point := row.split()[4]).startswith(f"{host.root}/"):
                    subprocess.run(["umount", "--lazy", point], check=False)


def _remove_control_groups() -> None:
    """Remove what systemd, which is killed, leaves behind."""
    for group in (*Path("/sys/fs/cgroup").glob("ordinary-*"), *Path("/sys/fs/cgroup").glob("*/ordinary-*")):
        subprocess.run(["find", group, "-depth", "-type", "d", "-delete"], check=False)


@contextlib.contextmanager
def _containers(docker: Docker, folder: Path) -> Iterator[None]:
    stopping = threading.Event()
    thread = threading.Thread(target=work_with_containers, args=(docker, folder, stopping), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join(60)
