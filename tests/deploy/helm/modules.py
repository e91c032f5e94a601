"""Single files out of Go modules, which are archives at a proxy: no checkout of a repository is needed for a schema."""

import hashlib
import io
import os
import shutil
import subprocess
import urllib.request
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

from tests.live.debian_image import cache_directory

_SECONDS = 60
_BUFFER = 1 << 18


def programs() -> list[str]:
    """Return the Go programs of this machine."""
    return [found for name in ("go", "/usr/local/go/bin/go") if (found := shutil.which(name)) is not None]


@cache
def proxy() -> str:
    """Return the address of the first module proxy that Go uses on this machine. Raises OSError without Go."""
    for program in programs():
        reported = subprocess.run([program, "env", "GOPROXY"], capture_output=True, text=True, timeout=30, check=False)
        first = reported.stdout.strip().replace("|", ",").split(",")[0]
        if first.startswith("http"):
            return first.rstrip("/")
    raise OSError("Go is missing, or uses no module proxy")


def module_file(module: str, version: str, path: str) -> bytes:
    """Return one file of a module, cached on disk.

    Raises:
        OSError: the proxy doesn't answer.
    """
    name = hashlib.sha256(f"{module}@{version}/{path}".encode()).hexdigest()[:16]
    cached = cache_directory() / "module-files" / f"{name}-{Path(path).name}"
    if not cached.exists():
        with zipfile.ZipFile(io.BufferedReader(_Remote(archive(module, version)), _BUFFER)) as opened:
            content = opened.read(f"{module}@{version}/{path}")
        store(cached, content)
    return cached.read_bytes()


def archive(module: str, version: str) -> str:
    """Return the address of a module's archive."""
    return f"{proxy()}/{module}/@v/{version}.zip"


def store(path: Path, content: bytes) -> None:
    """Write a file at once, so that an interrupted run leaves no partial one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f"{path.name}.{os.getpid()}")
    half.write_bytes(content)
    half.rename(path)


class _Remote(io.RawIOBase):
    """A file at a server that answers requests for ranges: only the parts that are read are transferred."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._at = 0
        with self._open(method="HEAD") as answer:
            self._size = int(answer.headers["Content-Length"])

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        last = min(self._at + len(buffer), self._size) - 1
        if last < self._at:
            return 0
        with self._open(headers={"Range": f"bytes={self._at}-{last}"}) as answer:
            if answer.status != 206:
                raise OSError(f"{self._url}: the proxy doesn't answer requests for ranges")
            content = answer.read()
        buffer[: len(content)] = content
        self._at += len(content)
        return len(content)

    def _open(self, **request: Any) -> Any:
        return urllib.request.urlopen(urllib.request.Request(self._url, **request), timeout=_SECONDS)
