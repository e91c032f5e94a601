"""The programs of a node, compiled or unpacked once and cached: Debian has no packages of Kubernetes."""

import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.deploy.helm.modules import proxy
from tests.deploy.helm.program import NoHelm, go
from tests.live.debian_image import cache_directory

KUBERNETES = "1.34.4"
_CRI_TOOLS = "sigs.k8s.io/cri-tools"
_CRI_TOOLS_VERSION = "1.34.0"
_API_COMMANDS = ("kubectl", "kube-apiserver")
_COMMANDS = (*_API_COMMANDS, "kube-controller-manager", "kube-scheduler", "kubelet")
_PACKAGES = {"etcd-server": "usr/bin/etcd", "containernetworking-plugins": "usr/lib/cni/bridge"}
"""Unpacked instead of installed: nothing of them may start on this machine."""
_BUILD_SECONDS = 1800


class NoKubernetes(Exception):
    """A node can't run on this machine; the message gives the reason."""


def programs(*, is_node: bool = True) -> Path:
    """Return the folder of all programs: those of Kubernetes, crictl, etcd, and CNI's in `cni`.

    Args:
        is_node: without it, only those of an API server are made, which takes a quarter of the time.

    Raises:
        NoKubernetes: they can't be made.
    """
    for needed in ("containerd", "runc", "gcc", "openssl") if is_node else ("openssl",):
        if shutil.which(needed) is None:
            raise NoKubernetes(f"{needed} is not installed")
    folder = cache_directory() / f"kubernetes-{KUBERNETES}"
    folder.mkdir(parents=True, exist_ok=True)
    missing = [name for name in (_COMMANDS if is_node else _API_COMMANDS) if not (folder / name).exists()]
    if missing:
        _compile_kubernetes(missing, folder)
    if is_node and not (folder / "crictl").exists():
        _compile_crictl(folder)
    _unpack(folder)
    return folder


class _GoModule:
    """A module in a temporary folder, which requires others and builds their programs."""

    def __init__(self, folder: Path) -> None:
        """Take an empty folder. Raises NoKubernetes without Go."""
        try:
            self._go = go()
        except NoHelm as missing:
            raise NoKubernetes(str(missing)) from None
        self.folder = folder
        settings = {"GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local", "CGO_ENABLED": "0", "GOPROXY": proxy()}
        self._environment = os.environ | settings

    def run(self, *arguments: str) -> str:
        """Run a command of Go and return its output."""
        done = subprocess.run(
            [self._go, *arguments],
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=_BUILD_SECONDS,
            check=False,
        )
        if done.returncode:
            raise NoKubernetes(f"go {arguments[0]}: " + "\n".join(done.stderr.splitlines()[-5:]))
        return done.stdout

    def build(self, package: str, target: Path, flags: str = "") -> None:
        """Build a program."""
        made = target.with_name(f".{target.name}")
        self.run("build", "-trimpath", "-ldflags", f"-s -w {flags}", "-o", str(made), package)
        made.rename(target)


def _compile_kubernetes(names: list[str], folder: Path) -> None:
    minor = KUBERNETES.split(".")[1]
    version = "k8s.io/component-base/version"
    flags = f"-X {version}.gitVersion=v{KUBERNETES} -X {version}.gitMajor=1 -X {version}.gitMinor={minor}"
    with tempfile.TemporaryDirectory(prefix="lanner-kubernetes-") as place:
        module = _GoModule(Path(place))
        source = Path(json.loads(module.run("mod", "download", "-json", f"k8s.io/kubernetes@v{KUBERNETES}"))["Dir"])
        Path(place, "go.mod").write_text(_module((source / "go.mod").read_text()))
        shutil.copy(source / "go.sum", place)
        Path(place, "go.sum").chmod(0o644)
        packages = [f"k8s.io/kubernetes/cmd/{name}" for name in names]
        module.run("get", *(f"{package}@v{KUBERNETES}" for package in packages))
        for name, package in zip(names, packages, strict=True):
            module.build(package, folder / name, flags)


def _compile_crictl(folder: Path) -> None:
    package = f"{_CRI_TOOLS}/cmd/crictl"
    with tempfile.TemporaryDirectory(prefix="lanner-kubernetes-") as place:
        module = _GoModule(Path(place))
        # `go install` refuses modules that replace others; a module that requires such a module is built.
        Path(place, "go.mod").write_text(f"module node\n\ngo 1.24.0\n\nrequire {_CRI_TOOLS} v{_CRI_TOOLS_VERSION}\n")
        module.run("get", f"{package}@v{_CRI_TOOLS_VERSION}")
        module.build(package, folder / "crictl")


def _module(upstream: str) -> str:
    """Return a module that only requires Kubernetes; its libraries, which upstream replaces, have versions 0.x."""
    libraries = re.findall(r"^\t(k8s\.io/\S+) => \./staging/", upstream, re.MULTILINE)
    replaced = "".join(f"\t{name} => {name} v0.{KUBERNETES.partition('.')[2]}\n" for name in libraries)
    return (
        "module node\n\ngo 1.24.0\n\ngodebug default=go1.24\n\n"
        f"require k8s.io/kubernetes v{KUBERNETES}\n\nreplace (\n{replaced})\n"
    )


def _unpack(folder: Path) -> None:
    for package, program in _PACKAGES.items():
        target = folder / ("cni" if "cni" in program else Path(program).name)
        if target.exists():
            continue
        with tempfile.TemporaryDirectory(dir=folder) as place:
            done = subprocess.run(
                ["apt-get", "download", "-q", package], cwd=place, capture_output=True, text=True, check=False
            )
            files = list(Path(place).glob("*.deb"))
            if done.returncode or not files:
                raise NoKubernetes(f"apt-get can't download {package}: {done.stderr.strip()}")
            subprocess.run(["dpkg", "-x", files[0], place], check=True)
            inside = Path(place, program)
            (inside.parent if target.name == "cni" else inside).rename(target)
