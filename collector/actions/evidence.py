"""Collects evidence about a process, a container or the host into a tar, with a signed statement beside it.

It changes nothing, so it has no lease and nothing undoes it.
"""

import hashlib
import json
import os
import subprocess
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collector.actions.containers import ContainerOf, all_pids, container_processes
from collector.actions.effect import ActionRefused, Effect, TargetGone, UndoFacts
from collector.actions.gathering import ARGUMENT, main
from collector.actions.processes import BootOffsets
from collector.processes.container_names import container_of
from collector.procfs.parse import Stat, parse_stat
from collector.procfs.reading import read_file
from foundation.files import open_private, write_atomically
from foundation.interpreter import child_command
from foundation.text import count_of
from schemas.action import ActionIntent

DOMAIN = b"lanner evidence\0"
SECONDS = 20.0
_MORE_SECONDS = 20.0
"""For compressing what was gathered."""
MAX_BYTES = 64 << 20
"""Bytes of what is collected, uncompressed."""
_RESERVE = 512 << 20
"""Bytes that stay free where it is stored."""
_MAX_PROCESSES = 4096
_MAX_SUMMARY = 64 << 10
_MAX_ANCESTORS = 64
_MAX_STAT = 4096


@dataclass(frozen=True, slots=True)
class Signer:
    """The host's key."""

    public_key: bytes
    sign: Callable[[bytes], bytes]


class EvidenceCollection:
    """Collects evidence.

    Args:
        state_dir: tars are in its folder `evidence`.
        offsets: the clocks by which a process of an event is recognized.
        recording: folder of a rolling recording; its newest files are collected too.
        signer: signs statements; None if the host has no key.
        container_of: returns the container that a cgroup's path names.
    """

    def __init__(
        self,
        state_dir: Path,
        offsets: BootOffsets,
        *,
        recording: Path | None = None,
        signer: Signer | None = None,
        container_of: ContainerOf = container_of,
    ) -> None:
        self._folder = state_dir / "evidence"
        self._offsets = offsets
        self._recording = recording
        self._signer = signer
        self._container_of = container_of

    def do(self, intent: ActionIntent) -> Effect:
        """Collect it; see HostAction."""
        processes = self._processes(intent)
        name = hashlib.sha256(intent.id.encode("utf-8", "replace")).hexdigest()[:32]
        tar = self._folder / f"{name}.tar.gz"
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        space = os.statvfs(self._folder)
        if space.f_bavail * space.f_frsize < MAX_BYTES + _RESERVE:
            raise ActionRefused(f"{self._folder} has too little space")
        about = {
            "intent": intent.id,
            "host_id": intent.host_id,
            "hostname": intent.hostname,
            "target": intent.target,
            "text": intent.text,
            "alert": intent.alert,
            "rule": intent.rule,
        }
        request = {
            "about": about,
            "processes": processes[:_MAX_PROCESSES],
            "recording": str(self._recording or ""),
            "seconds": SECONDS,
            "bytes": MAX_BYTES,
        }
        tar.unlink(missing_ok=True)
        try:
            summary = _gathered(tar, request)
            digest, size = _sha256(tar)
        except BaseException:
            tar.unlink(missing_ok=True)
            raise
        signed = self._state(tar, {**about, "file": tar.name, "sha256": digest, "bytes": size})
        text = f"collected {tar}, {size:,} bytes, SHA-256 {digest}"
        text += f", of {count_of(int(summary['processes']), 'process', 'processes')}"
        text += "" if signed else "; it isn't signed: this host has no key"
        left_out = len(processes) - _MAX_PROCESSES
        missing = summary["missing"] or (f"{left_out} processes are too many" if left_out > 0 else "")
        return Effect(text + (f"; incomplete: {missing}" if missing else ""), {})

    def extend(self, intent: ActionIntent, facts: UndoFacts, lease: int) -> None:
        """Do nothing: it has no lease."""

    def undo(self, intent: ActionIntent, facts: UndoFacts) -> str:  # noqa: ARG002  the protocol's
        """Return a text: nothing was changed."""
        return "nothing was changed, so nothing is undone"

    def _processes(self, intent: ActionIntent) -> list[tuple[int, int]]:
        """Return the ids and start times, in ticks, of the processes that belong to a target."""
        if intent.target == "container":
            members = []
            for process in container_processes(intent.container_id, self._container_of):
                with suppress(OSError):
                    stat = parse_stat(process.read("stat"))
                    members += [] if stat is None else [(process.pid, stat.start_ticks)]
            return members
        found = dict(_stats(all_pids()))
        if intent.target == "process":
            stat = found.get(intent.pid)
            if stat is None or not self._offsets.is_start(stat.start_ticks, intent.start_time):
                raise TargetGone(f"process {intent.pid} has ended")
            found = {pid: found[pid] for pid in _relatives(intent.pid, found)}
        return [(pid, each.start_ticks) for pid, each in found.items()]

    def _state(self, tar: Path, statement: Mapping[str, Any]) -> bool:
        """Write a statement about a tar beside it, and its signature; return whether there is one."""
        key = self._signer.public_key.hex() if self._signer is not None else ""
        data = json.dumps({**statement, "public_key": key}, indent=1).encode() + b"\n"
        write_atomically(_beside(tar, "json"), [data], is_synced=True)
        if self._signer is None:
            return False
        write_atomically(_beside(tar, "sig"), [self._signer.sign(DOMAIN + data)], is_synced=True)
        return True


def _beside(tar: Path, suffix: str) -> Path:
    return tar.with_name(f"{tar.name.removesuffix('.tar.gz')}.{suffix}")


def _stats(pids: Iterable[int]) -> Iterable[tuple[int, Stat]]:
    for pid in pids:
        stat = parse_stat(read_file(f"/proc/{pid}/stat", _MAX_STAT) or b"")
        if stat is not None and not stat.is_kernel_thread:
            yield pid, stat


def _relatives(pid: int, found: Mapping[int, Stat]) -> list[int]:
    """Return a process, those that it descends from, and all that descend from it."""
    above: list[int] = []
    children: dict[int, list[int]] = {}
    for each, stat in found.items():
        children.setdefault(stat.ppid, []).append(each)
    at = pid
    while at in found and at not in above and len(above) < _MAX_ANCESTORS:
        above.append(at)
        at = found[at].ppid
    below, queue = set(above), [pid]
    while queue:
        more = [each for each in children.get(queue.pop(), ()) if each not in below]
        below.update(more)
        queue += more
    return [*above, *sorted(below.difference(above))]


def _gathered(tar: Path, request: Mapping[str, Any]) -> dict[str, Any]:
    """Run the process that gathers; return its summary."""
    descriptor = open_private(tar, os.O_WRONLY | os.O_EXCL)
    with os.fdopen(descriptor, "wb") as file:
        try:
            done = subprocess.run(
                child_command(main, ARGUMENT),
                input=json.dumps(request).encode(),
                stdout=file,
                stderr=subprocess.PIPE,
                timeout=SECONDS + _MORE_SECONDS,
                check=False,
                cwd="/",
            )
        except subprocess.TimeoutExpired:
            raise OSError(f"it took longer than {SECONDS + _MORE_SECONDS:g} s") from None
        os.fsync(file.fileno())
    try:
        summary = json.loads(done.stderr[:_MAX_SUMMARY])
        return {"processes": int(summary["processes"]), "missing": str(summary["missing"])}
    except (ValueError, KeyError, TypeError):
        raise OSError(f"the process that gathers ended with {done.returncode}") from None


def _sha256(path: Path) -> tuple[str, int]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return digest, file.tell()
