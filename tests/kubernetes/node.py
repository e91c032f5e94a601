"""A node: etcd, the control plane, kubelet and containerd in a network and a mount namespace of their own.

Nothing outside changes: no interface, no firewall rule, no sysctl. Inside, all paths are the usual ones, except that of
containerd's layers. Those and what containers mount have the same paths outside as any host has, because only then
does a collector know that looking at their files never waits.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Self

from tests.kubernetes.settings import ADDRESS, NAME, SERVICE, write_settings
from tests.live.dockerd import unmount_below
from tests.roots import ROOTS

_BOUND = {
    "opt": "/var/lib/containerd/opt",
    "kubelet": "/var/lib/kubelet",
    "pods": "/var/log/pods",
    "containers": "/var/log/containers",
    "cni": "/var/lib/cni",
    "state": "/var/lib/lanner",
}
"""Folders of the node that the kubelet or a manifest names, and where they are."""
_SYSCTLS = {"vm/overcommit_memory": "1", "kernel/panic": "10", "kernel/panic_on_oops": "1"}
"""What the kubelet would set for the whole machine: it finds these values in files of the node's own."""
_SETUP = """
set -e
awk '$5 != "{state}" {{ print $5 }}' /proc/self/mountinfo |
    while read -r point; do mount --make-private "$point" || :; done
mount --make-rshared /
for pair in {bound}; do mount --bind "{data}/${{pair%%:*}}" "${{pair#*:}}"; done
mount --make-shared --bind /var/lib/kubelet /var/lib/kubelet
mkdir -p /run/containerd /run/netns
mount --bind "{state}" /run/containerd
mount -t tmpfs -o mode=755 tmpfs /run/netns
for name in {sysctls}; do mount --bind "{data}/sysctl/$name" /proc/sys/$name; done
ip link set lo up
ip address add {service}/32 dev lo
# This kernel may have no dummy interfaces: one end of a pair does as well.
ip link add node0 type veth peer name node1
ip link set node0 up; ip link set node1 up
ip address add {address}/24 dev node0
ip route add default dev node0
echo 1 > /proc/sys/net/ipv4/ip_forward
exec sleep infinity
"""
_START_SECONDS = 180
_END_SECONDS = 40


class Node:
    """A cluster of one node; use it as a context manager."""

    def __init__(self, programs: Path) -> None:
        """Take the folder of the programs."""
        self._programs = programs
        self._folder = Path(tempfile.mkdtemp(prefix="lkn-", dir=ROOTS))
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        self._made: list[Path] = []

    def __enter__(self) -> Self:
        """Start everything and wait until the node is ready."""
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End everything and remove its folders."""
        self.close()

    def command(self, *arguments: str | Path) -> list[str]:
        """Return a command that runs another one on the node."""
        inside = ("nsenter", "-t", str(self._daemons["node"].pid), "-m", "-n", "--")
        path = f"PATH={self._programs}:{os.environ['PATH']}"
        return [*inside, "env", path, f"KUBECONFIG={self.kubeconfig}", *map(str, arguments)]

    def run(self, *arguments: str | Path, check: bool = True, timeout: float = 120, given: str = "") -> str:
        """Run a command on the node and return its output."""
        done = subprocess.run(
            self.command(*arguments),
            input=given,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
        assert not check or done.returncode == 0, f"{arguments}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        return done.stdout

    def kubectl(self, *arguments: str | Path, **options: object) -> str:
        """Run kubectl as the cluster's administrator."""
        return self.run("kubectl", *arguments, **options)  # type: ignore[arg-type]

    def roll_out(self, namespace: str, workload: str) -> None:
        """Wait until a workload's pods are ready; if they don't become ready, fail with their log."""
        try:
            self.kubectl("rollout", "status", "--namespace", namespace, workload, "--timeout=120s", timeout=130)
        except AssertionError as error:
            log = self.kubectl("logs", "--namespace", namespace, workload, "--tail=30", check=False)
            raise AssertionError(f"{error}\n{log}") from None

    @property
    def static_pods(self) -> Path:
        """The folder from which the kubelet runs pods by itself."""
        return self._folder / "static"

    @property
    def kubeconfig(self) -> Path:
        """The credentials of the cluster's administrator."""
        return self._folder / "admin.conf"

    @property
    def layers(self) -> Path:
        """The folder that is /var/lib/containerd on other nodes."""
        return self._folder / "data/containerd"

    @property
    def socket(self) -> Path:
        """The runtime's socket, as the machine finds it."""
        return Path(f"/proc/{self._daemons['node'].pid}/root/run/containerd/containerd.sock")

    def load(self, archives: Iterable[Path]) -> None:
        """Import images from archives, as `docker save` writes them."""
        for archive in archives:
            self.run("ctr", "--namespace", "k8s.io", "images", "import", archive, timeout=300)

    def close(self) -> None:
        """End the pods, then the daemons in reverse order, then whatever else is left in the node's namespace."""
        if "kubelet" in self._daemons:
            with suppress(AssertionError, subprocess.TimeoutExpired):
                self._end_pods()
        node = self._daemons.pop("node", None)
        for daemon in reversed(self._daemons.values()):
            _end(daemon)
        if node is not None:
            _end_all_in_namespace(node.pid)
            _end(node)
        unmount_below(self._folder)
        shutil.rmtree(self._folder, ignore_errors=True)
        for folder in reversed(self._made):
            with suppress(OSError):
                folder.rmdir()
        for root in Path("/sys/fs/cgroup").glob("**/kubepods"):
            subprocess.run(["find", root, "-depth", "-type", "d", "-delete"], check=False, capture_output=True)

    def log(self, name: str) -> str:
        """Return the end of a daemon's log."""
        return "\n".join((self._folder / f"{name}.log").read_text(errors="replace").splitlines()[-20:])

    def _end_pods(self) -> None:
        """Delete everything that makes pods, and wait until the kubelet has ended their containers."""
        for manifest in self.static_pods.iterdir():
            manifest.unlink()
        kinds = "daemonsets,deployments,statefulsets,jobs,pods"
        self.kubectl("delete", kinds, "--all", "--all-namespaces", "--force", "--grace-period=0", timeout=60)
        deadline = time.monotonic() + _END_SECONDS
        tasks = ("ctr", "--namespace", "k8s.io", "tasks")
        while (left := self.run(*tasks, "list", "--quiet").split()) and time.monotonic() < deadline:
            time.sleep(0.5)
        for task in left:
            self.run(*tasks, "kill", "--signal", "SIGKILL", task, check=False)

    def _start(self) -> None:
        self._start_namespaces()
        write_settings(self._folder, self._programs)
        at = self._folder
        self._daemon("containerd", "containerd", "--config", at / "containerd.toml")
        self._until("containerd", lambda: self.run("ctr", "version"))
        self._daemon(
            *("etcd", "etcd", "--data-dir", at / "etcd", "--unsafe-no-fsync"),
            *("--listen-client-urls=http://127.0.0.1:2379", "--advertise-client-urls=http://127.0.0.1:2379"),
        )
        self._daemon("apiserver", "kube-apiserver", *self._api_arguments())
        self._until("apiserver", lambda: self.kubectl("get", "--raw", "/readyz"))
        common = ("--leader-elect=false", "--authentication-skip-lookup=true", "--bind-address=127.0.0.1")
        self._daemon(
            *("controllers", "kube-controller-manager", f"--kubeconfig={at}/controller-manager.conf", *common),
            *(f"--root-ca-file={at}/ca.crt", f"--service-account-private-key-file={at}/accounts.key"),
            "--use-service-account-credentials=true",
        )
        self._daemon("scheduler", "kube-scheduler", f"--kubeconfig={at}/scheduler.conf", *common)
        self._daemon(
            *("kubelet", "kubelet", f"--config={at}/kubelet.yaml", f"--kubeconfig={at}/kubelet.conf"),
            *(f"--hostname-override={NAME}", f"--node-ip={ADDRESS}"),
        )
        self._daemon(
            *("names", sys.executable, Path(__file__).with_name("names.py"), ADDRESS, self._programs / "kubectl")
        )
        self._until("kubelet", lambda: self.kubectl("wait", "--for=condition=Ready", "--timeout=5s", f"node/{NAME}"))
        self._until("controllers", lambda: self.kubectl("get", "serviceaccount", "default"))

    def _api_arguments(self) -> list[str]:
        at = self._folder
        return [
            "--etcd-servers=http://127.0.0.1:2379",
            f"--advertise-address={ADDRESS}",
            "--secure-port=443",
            "--service-cluster-ip-range=10.96.0.0/16",
            f"--tls-cert-file={at}/apiserver.crt",
            f"--tls-private-key-file={at}/apiserver.key",
            f"--client-ca-file={at}/ca.crt",
            f"--token-auth-file={at}/tokens.csv",
            f"--kubelet-client-certificate={at}/apiserver-client.crt",
            f"--kubelet-client-key={at}/apiserver-client.key",
            "--kubelet-preferred-address-types=InternalIP",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={at}/accounts.pub",
            f"--service-account-signing-key-file={at}/accounts.key",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
        ]

    def _start_namespaces(self) -> None:
        data = self._folder / "data"
        for name, place in _BOUND.items():
            (data / name).mkdir(parents=True)
            self._make(Path(place))
        for name, value in _SYSCTLS.items():
            file = data / "sysctl" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{value}\n")
        state = data / "run"
        state.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=711", "tmpfs", state], check=True)
        subprocess.run(["mount", "--make-shared", state], check=True)
        bound = " ".join(f"{name}:{place}" for name, place in _BOUND.items())
        names = {"state": state, "sysctls": " ".join(_SYSCTLS), "address": ADDRESS, "service": SERVICE}
        script = _SETUP.format(bound=bound, data=data, **names)
        self._spawn("node", ["unshare", "--mount", "--net", "--propagation", "unchanged", "sh", "-c", script])
        comm = Path(f"/proc/{self._daemons['node'].pid}/comm")
        self._until("node", lambda: _check(comm.read_text() == "sleep\n"))

    def _make(self, folder: Path) -> None:
        missing = [each for each in (folder, *folder.parents) if not each.exists()]
        for each in reversed(missing):
            each.mkdir()
            self._made.append(each)

    def _daemon(self, name: str, *command: str | Path) -> None:
        self._spawn(name, self.command(*command))

    def _spawn(self, name: str, command: list[str]) -> None:
        with (self._folder / f"{name}.log").open("wb") as log:
            self._daemons[name] = subprocess.Popen(
                # It ends with the tests, even if they are killed.
                ["setpriv", "--pdeathsig", "TERM", *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _until(self, name: str, attempt: Callable[[], object]) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                attempt()
            except (AssertionError, OSError, subprocess.SubprocessError):
                daemon = self._daemons[name]
                assert daemon.poll() is None, f"{name} ended: {self.log(name)}"
                assert time.monotonic() < deadline, f"{name}: {self.log(name)}"
                time.sleep(0.2)
            else:
                return


def _check(condition: bool) -> None:
    assert condition


def _end(daemon: subprocess.Popen[bytes]) -> None:
    daemon.terminate()
    try:
        daemon.wait(10)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait(10)


def _end_all_in_namespace(pid: int) -> None:
    """End the shims, which no daemon ends; they are found by the node's mount namespace."""
    own = Path(f"/proc/{pid}/ns/mnt").readlink()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (process / "ns/mnt").readlink() == own and int(process.name) != pid:
                os.kill(int(process.name), signal.SIGKILL)
