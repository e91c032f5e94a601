"""The child process that gathers evidence: whoever is looked at can block a reader permanently.

It reads one request as JSON from standard input, writes a compressed tar to standard output, and a summary as JSON to
standard error. Environments, which contain secrets, are not read.
"""

import contextlib
import hashlib
import io
import json
import os
import re
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from collector.actions.containers import OpenProcess, open_process
from collector.procfs.foreign_files import closing
from collector.procfs.parse import parse_cgroup, parse_cmdline, parse_stat, text_of
from collector.procfs.reading import MAX_MEMORY_FILE, read_file

ARGUMENT = "evidence-gathering"
MANIFEST = "manifest.json"
_MAX_FILE = 1 << 20
_MAX_PROGRAM = 128 << 20
"""Bytes of a program that are hashed at most."""
_MAX_DESCRIPTORS = 1024
_MAX_MAPPED = 512
_MAX_RECORDING = 16 << 20
_PIECE = 1 << 20
_NO_BYTES = "the limit of bytes was reached"
_SOCKETS = ("tcp", "tcp6", "udp", "udp6", "raw", "raw6", "packet", "unix")
_NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
_HOST = ("/proc/version", "/proc/uptime", "/proc/loadavg", "/proc/modules", "/proc/mounts", "/etc/os-release")
_STATUS = re.compile(rb"^(Uid|Gid|Groups|CapPrm|CapEff|CapBnd|NoNewPrivs|Seccomp|NSpid):\s*(.*)$", re.MULTILINE)


@dataclass(slots=True)
class _Evidence:
    """What was gathered so far; a thread adds to it, which may wait permanently."""

    left: int
    """Bytes that may still be added."""
    parts: dict[str, bytes] = field(default_factory=dict)
    processes: list[dict[str, Any]] = field(default_factory=list)
    missing: str = ""
    """Why there is less than there could be; empty if there is all."""
    is_complete: bool = False

    def add(self, name: str, data: bytes) -> None:
        """Add a file, unless it is too large."""
        if not data or name in self.parts:
            return
        if len(data) > self.left:
            self.missing = _NO_BYTES
            return
        self.left -= len(data)
        self.parts[name] = data


class _Gatherer:
    def __init__(self, evidence: _Evidence) -> None:
        self._evidence = evidence
        self._digests: dict[tuple[int, ...], str] = {}

    def run(self, request: dict[str, Any]) -> None:
        for path in _HOST:
            self._evidence.add(f"host{path}", read_file(path, _MAX_FILE) or b"")
        for pid, start_ticks in request["processes"]:
            with contextlib.suppress(OSError), open_process(pid) as process:
                stat = parse_stat(process.read("stat"))
                if stat is not None and stat.start_ticks == start_ticks:
                    self._process(process)
        # Last, so that it takes nothing from what only exists now.
        left = min(_MAX_RECORDING, self._evidence.left)
        for file in _newest(request["recording"]):
            data = read_file(str(file), left + 1) or b""
            if len(data) > left:
                break
            left -= len(data)
            self._evidence.add(f"recording/{file.name}", data)
        self._evidence.is_complete = True

    def _process(self, process: OpenProcess) -> None:
        """Add what procfs shows of one process; what can't be read is left out."""
        pid = process.pid
        stat = parse_stat(_read(process, "stat"))
        row: dict[str, Any] = {
            "pid": pid,
            "ppid": None if stat is None else stat.ppid,
            "start_ticks": None if stat is None else stat.start_ticks,
            "name": text_of(_read(process, "comm").rstrip(b"\n")),
            "cgroup": parse_cgroup(_read(process, "cgroup")),
            "login_uid": text_of(_read(process, "loginuid")),
            "status": {text_of(key): text_of(value) for key, value in _STATUS.findall(_read(process, "status"))},
            **{name: _link(process, name) for name in ("exe", "cwd", "root")},
            "namespaces": {name: _link(process, f"ns/{name}") for name in _NAMESPACES},
        }
        # Before what may wait permanently.
        self._evidence.processes.append(row)
        row["descriptors"] = dict(_descriptors(process))
        network, mounts = (_number(row["namespaces"][name]) for name in ("net", "mnt"))
        for name in _SOCKETS:
            self._once(f"network/{network}/{name}", process, f"net/{name}")
        self._once(f"mounts/{mounts}", process, "mountinfo")
        row["program"] = self._program(process)
        row["arguments"] = parse_cmdline(_read(process, "cmdline", MAX_MEMORY_FILE), MAX_MEMORY_FILE)
        maps = _read(process, "maps")
        self._evidence.add(f"processes/{pid}/maps", maps)
        paths = {line.split(None, 5)[5] for line in maps.splitlines() if line.count(b"/") and len(line.split()) > 5}
        row["mapped"] = sorted(map(text_of, paths))[:_MAX_MAPPED]
        size = len(json.dumps(row))
        if size > self._evidence.left:
            self._evidence.missing = _NO_BYTES
            for name in ("descriptors", "arguments", "mapped"):
                del row[name]
        else:
            self._evidence.left -= size

    def _once(self, name: str, process: OpenProcess, file: str) -> None:
        if name not in self._evidence.parts:
            self._evidence.add(name, _read(process, file))

    def _program(self, process: OpenProcess) -> dict[str, Any]:
        """Return what file a process runs, with its SHA-256 unless it is too large."""
        with contextlib.suppress(OSError), closing(process.open("exe", os.O_RDONLY | os.O_NONBLOCK)) as file:
            status = os.fstat(file)
            found = {"device": status.st_dev, "inode": status.st_ino, "size": status.st_size, "links": status.st_nlink}
            key = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
            if status.st_size <= _MAX_PROGRAM:
                if key not in self._digests:
                    self._digests[key] = _sha256(file)
                return {**found, "sha256": self._digests[key]}
            return found
        return {}


def _newest(folder: str) -> list[Path]:
    """Return the files of a recording, the newest first."""
    return sorted(Path(folder).glob("*.avro"), reverse=True) if folder else []


def _sha256(file: int) -> str:
    digest, left = hashlib.sha256(), _MAX_PROGRAM
    while left > 0 and (piece := os.read(file, _PIECE)):
        digest.update(piece)
        left -= len(piece)
    return digest.hexdigest()


def _read(process: OpenProcess, name: str, limit: int = _MAX_FILE) -> bytes:
    try:
        return process.read(name, limit)
    except OSError:
        return b""


def _link(process: OpenProcess, name: str) -> str:
    try:
        return os.readlink(name, dir_fd=process.folder)
    except OSError:
        return ""


def _number(link: str) -> str:
    """Return the number in the name of a namespace, such as net:[4026531840]."""
    return link.partition("[")[2].rstrip("]") or "unknown"


def _descriptors(process: OpenProcess) -> Iterator[tuple[str, str]]:
    with contextlib.suppress(OSError), closing(process.open("fd", os.O_RDONLY | os.O_DIRECTORY)) as folder:
        for name in sorted(os.listdir(folder), key=int)[:_MAX_DESCRIPTORS]:  # noqa: PTH208  it is a descriptor
            with contextlib.suppress(OSError):
                yield name, os.readlink(name, dir_fd=folder)


def _manifest(request: dict[str, Any], evidence: _Evidence, parts: dict[str, bytes]) -> dict[str, Any]:
    return {
        **request["about"],
        "gathered": time.time_ns(),
        "missing": evidence.missing,
        "files": {name: hashlib.sha256(data).hexdigest() for name, data in sorted(parts.items())},
    }


def _write_tar(request: dict[str, Any], evidence: _Evidence) -> int:
    """Write what there is by now; return the number of files."""
    rows = list(evidence.processes)
    parts = dict(evidence.parts)
    # A row that the thread is still filling changes while it is encoded.
    parts["processes.jsonl"] = b"".join(json.dumps(dict(row)).encode() + b"\n" for row in rows)
    parts[MANIFEST] = json.dumps(_manifest(request, evidence, parts), indent=1).encode()
    with tarfile.open(fileobj=sys.stdout.buffer, mode="w|gz") as tar:
        for name, data in parts.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.mtime = len(data), 0o600, int(time.time())
            tar.addfile(entry, io.BytesIO(data))
    return len(parts)


def main(arguments: list[str]) -> None:  # noqa: ARG001  as all such functions
    """Gather what the request names."""
    request = json.loads(sys.stdin.buffer.read())
    with contextlib.suppress(OSError):
        os.nice(10)
    evidence = _Evidence(request["bytes"])
    thread = threading.Thread(target=_Gatherer(evidence).run, args=(request,), daemon=True)
    thread.start()
    thread.join(request["seconds"])
    if not evidence.is_complete:
        evidence.missing = evidence.missing or "a process made its reader wait, or the time was up"
    files = _write_tar(request, evidence)
    summary = {"processes": len(evidence.processes), "files": files, "missing": evidence.missing}
    sys.stderr.write(json.dumps(summary))
    sys.stdout.flush()
    sys.stderr.flush()
    # The thread may never end.
    os._exit(0)
