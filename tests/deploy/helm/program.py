"""Helm, compiled once from its Go module and cached: Debian has no package of it."""

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import urllib.request
import zipfile
from pathlib import Path

from tests.deploy.helm.modules import archive, programs, proxy
from tests.live.debian_image import cache_directory

VERSION = "3.22.0"
_GO = (1, 26)
"""Helm's go.mod requires it."""
_TOOLCHAIN = ("golang.org/toolchain", "v0.0.1-go1.26.0.linux-amd64")
_TOOLCHAIN_SHA256 = "38461905b98c59173672814302e222ab43b652274bc0c95817b08b71ab66b705"
_BUILD_SECONDS = 800


class NoHelm(Exception):
    """Helm can't be compiled on this machine; the message gives the reason."""


def helm() -> Path:
    """Return the path of the program.

    Raises:
        NoHelm: it can't be compiled.
    """
    folder = cache_directory() / f"helm-{VERSION}"
    program = folder / "helm"
    if program.exists():
        return program
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as unfinished:
        environment = {
            **os.environ,
            "GOBIN": unfinished,
            "GOFLAGS": "-mod=mod",
            "CGO_ENABLED": "0",
            "GOTOOLCHAIN": "local",
            "GOPROXY": proxy(),
        }
        # It runs for seconds, so optimizing it would take longer than it saves.
        flags = ["-trimpath", "-gcflags=all=-N -l -dwarf=false", "-ldflags=-s -w"]
        command = [go(), "install", *flags, f"helm.sh/helm/v3/cmd/helm@v{VERSION}"]
        built = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=_BUILD_SECONDS, check=False
        )
        if built.returncode:
            raise NoHelm("Helm can't be compiled: " + "\n".join(built.stderr.splitlines()[-5:]))
        (Path(unfinished) / "helm").rename(program)
    return program


def go() -> str:
    """Return a Go that is new enough: this machine's, or else the one that Go's module proxy offers."""
    for found in programs():
        reported = subprocess.run([found, "env", "GOVERSION"], capture_output=True, text=True, timeout=30, check=False)
        version = re.match(r"go(\d+)\.(\d+)", reported.stdout)
        if version and (int(version[1]), int(version[2])) >= _GO:
            return found
    return str(toolchain() / "bin/go")


def toolchain() -> Path:
    """Download Go, 70 MB, unless cached, and return its folder.

    Raises:
        NoHelm: it can't be downloaded, or isn't the expected one.
    """
    module, version = _TOOLCHAIN
    folder = cache_directory() / version
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        file = Path(temporary) / "go.zip"
        try:
            with urllib.request.urlopen(archive(module, version), timeout=60) as answer, file.open("wb") as output:
                shutil.copyfileobj(answer, output)
        except OSError as error:
            raise NoHelm(f"no Go {_GO[0]}.{_GO[1]} here, and none can be downloaded: {error}") from None
        with file.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
        if digest != _TOOLCHAIN_SHA256:
            raise NoHelm(f"{archive(module, version)} has the digest {digest}, not {_TOOLCHAIN_SHA256}")
        with zipfile.ZipFile(file) as opened_archive:
            opened_archive.extractall(temporary)
        root = Path(temporary) / f"{module}@{version}"
        # Modules have no executable files.
        for path in (*root.glob("bin/*"), *root.glob("pkg/tool/*/*")):
            path.chmod(0o755)
        root.rename(folder)
    return folder
