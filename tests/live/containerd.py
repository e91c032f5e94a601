"""The tests' own containerd with its CRI plugin: it shares no directory, socket or process with another one."""

import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
import time
from hashlib import sha256
from pathlib import Path
from typing import Self

from tests.live.containers import write_busybox_tar
from tests.live.dockerd import end_processes_that_name, stop, unmount_below
from tests.live.runtime import privileged_runtime
from tests.roots import ROOTS

DAEMON = "/usr/bin/containerd"
PAUSE = "registry.k8s.io/pause:3.10"
BUSYBOX = "docker.io/library/lanner-busybox:1.35"

SETTINGS = """
version = 2
root = "{base}/root"
state = "{base}/state"
[grpc]
  address = "{base}/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "{base}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = "{runtime}"
"""


class NoContainerd(Exception):
    """containerd can't run on this machine; the message gives the reason."""


class Containerd:
    """A daemon with two images of busybox; use it as a context manager."""

    def __init__(self) -> None:
        """Create the daemon's directory without starting it."""
        for program in (DAEMON, "/usr/bin/ctr"):
            if not os.access(program, os.X_OK):
                raise NoContainerd(f"{program} is missing; install Debian's containerd")
        # The path has to be short: a socket's name may have 107 bytes.
        self.base = Path(tempfile.mkdtemp(prefix="lc-", dir=ROOTS))
        self.socket = self.base / "containerd.sock"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start the daemon, wait until it responds and import the images; raises NoContainerd."""
        settings = self.base / "config.toml"
        runtime = privileged_runtime(self.base)
        settings.write_text(SETTINGS.format(base=self.base, pause=PAUSE, runtime=runtime))
        log = self.base / "log"
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", DAEMON, "--config", str(settings)],
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self._process.poll() is None:
            if self.ctr("version", check=False).returncode == 0:
                self._import(PAUSE, ["/bin/sleep", "86400"])
                self._import(BUSYBOX, ["/bin/sh"])
                return self
            time.sleep(0.1)
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-5:])
        self.close()
        raise NoContainerd(f"containerd did not start: {tail}")

    def __exit__(self, *_: object) -> None:
        """Stop the daemon and remove everything of it."""
        self.close()

    def ctr(self, *arguments: str, check: bool = True, namespace: str = "k8s.io") -> subprocess.CompletedProcess[str]:
        """Run ctr with these arguments."""
        done = subprocess.run(
            self.ctr_command(*arguments, namespace=namespace),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=60,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if check and done.returncode:
            raise AssertionError(f"ctr {' '.join(arguments)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def ctr_command(self, *arguments: str, namespace: str = "k8s.io") -> list[str]:
        """Return ctr's command with these arguments."""
        return ["/usr/bin/ctr", "--address", str(self.socket), "--namespace", namespace, *arguments]

    def run_command(self, image: str, name: str, *command: str, namespace: str) -> list[str]:
        """Return ctr's command that runs a container to its end; it leaves nothing in the machine's own directories."""
        root = ("--runc-root", str(self.base / "runc"))
        return self.ctr_command("run", "--rm", *root, image, name, *command, namespace=namespace)

    def close(self) -> None:
        """Stop the daemon by its process id, then remove what it left running, mounted and stored."""
        if self._process is not None:
            stop(self._process)
        end_processes_that_name(f"{self.base}/containerd.sock")
        unmount_below(self.base)
        shutil.rmtree(self.base, ignore_errors=True)

    def _import(self, name: str, command: list[str]) -> None:
        layer = self.base / "layer.tar"
        write_busybox_tar(layer)
        archive = self.base / "image.tar"
        write_image(archive, layer, name, command)
        for namespace in ("k8s.io", "default"):
            self.ctr("images", "import", str(archive), namespace=namespace)


def write_image(archive: Path, layer: Path, name: str, command: list[str]) -> None:
    """Write an image of one layer in the format of docker save.

    Args:
        archive: the file to write.
        layer: a tar file of the root directory.
        name: the image's name.
        command: its entry point.

    Source: the Docker Image Specification v1.2.
    """
    digest = sha256(layer.read_bytes()).hexdigest()
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Entrypoint": command, "Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        }
    ).encode()
    manifest = json.dumps([{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]).encode()
    with tarfile.open(archive, "w") as tar:
        tar.add(layer, "layer.tar")
        for file, content in (("config.json", config), ("manifest.json", manifest)):
            entry = tarfile.TarInfo(file)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
