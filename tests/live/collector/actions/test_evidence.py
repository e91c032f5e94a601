"""Evidence about real processes, as somebody reads it afterwards."""

import hashlib
import json
import os
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from collector.actions import evidence
from collector.actions.effect import ActionRefused, TargetGone
from collector.actions.evidence import DOMAIN, EvidenceCollection, Signer
from collector.actions.processes import BootOffsets
from collector.processes.process import TICK
from collector.procfs.parse import parse_stat
from collector.publishing.identity import SigningKey
from schemas.action import ActionIntent, TargetType, decode_action_record, encode_action_record
from tests.live.collector.actions.container import container, intent

SECRET = "hunter2"


def what(target: TargetType, **of: str | int) -> ActionIntent:
    """Return an intent as it arrives."""
    return decode_action_record(encode_action_record(intent("collect", target, lease=0, **of)), ActionIntent)


def read(text: str) -> tuple[dict[str, bytes], dict[int, dict[str, Any]], Path]:
    """Return the files of the tar that a result names, its rows by pid, and its path."""
    tar = Path(text.removeprefix("collected ").partition(",")[0])
    assert f"SHA-256 {hashlib.sha256(tar.read_bytes()).hexdigest()}" in text
    with tarfile.open(tar) as opened:
        parts = {each.name: opened.extractfile(each).read() for each in opened}  # type: ignore[union-attr]
    rows = [json.loads(line) for line in parts["processes.jsonl"].splitlines()]
    return parts, {row["pid"]: row for row in rows}, tar


def start_of(pid: int) -> int:
    """Return when a process started, ns since the epoch, as in events."""
    stat = parse_stat(Path(f"/proc/{pid}/stat").read_bytes())
    assert stat is not None
    return stat.start_ticks * TICK + time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def test_evidence_about_a_container_is_signed_and_has_no_secrets(tmp_path: Path) -> None:
    """All its processes, each with program, arguments, descriptors and namespaces, and its network once."""
    key = SigningKey(b"k" * 32)
    recording = tmp_path / "kept"
    recording.mkdir()
    (recording / "1.avro").write_bytes(b"newest")
    with container() as one:
        code = "import os, sys; os.open(sys.argv[1], os.O_RDONLY); print(flush=True); sys.stdin.read()"
        joined = ("sh", "-c", f'echo 0 > {one.cgroup}/cgroup.procs; exec "$@"', "sh")
        program = subprocess.Popen(
            (*joined, sys.executable, "-ISc", code, "/etc/hostname"),
            env={**os.environ, "TOKEN": SECRET}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        one.others.append(program)
        assert program.stdout is not None
        program.stdout.readline()
        action = EvidenceCollection(
            tmp_path / "state", BootOffsets(), recording=recording, signer=Signer(key.public_key, key.sign)
        )
        text = action.do(what("container", container_id=one.id)).text
        assert ", of 3 processes" in text
        assert "incomplete" not in text
        parts, rows, tar = read(text)
        row = rows[program.pid]
        network = Path(f"/proc/{one.pid}/ns/net").stat().st_ino

    assert row["arguments"][-1] == "/etc/hostname"
    assert "/etc/hostname" in row["descriptors"].values()
    assert row["program"]["sha256"] == hashlib.sha256(Path(row["exe"]).read_bytes()).hexdigest()
    assert row["exe"] in row["mapped"]
    assert row["cgroup"].endswith(one.id)
    assert f"network/{network}/tcp" in parts
    assert parts["recording/1.avro"] == b"newest"
    assert SECRET.encode() not in b"".join(parts.values())
    assert tar.stat().st_mode & 0o777 == 0o600

    manifest = json.loads(parts.pop("manifest.json"))
    assert manifest["files"] == {name: hashlib.sha256(data).hexdigest() for name, data in parts.items()}
    statement = tar.with_name(tar.name.replace(".tar.gz", ".json")).read_bytes()
    signature = tar.with_name(tar.name.replace(".tar.gz", ".sig")).read_bytes()
    Ed25519PublicKey.from_public_bytes(key.public_key).verify(signature, DOMAIN + statement)
    assert json.loads(statement)["sha256"] == hashlib.sha256(tar.read_bytes()).hexdigest()
    assert action.undo(what("host"), {}) == "nothing was changed, so nothing is undone"


def test_evidence_about_a_process_has_its_relatives(tmp_path: Path) -> None:
    """Those that it descends from and all that descend from it; another process with its id is not it."""
    command = ("sh", "-c", "sleep 60 & sh -c 'sleep 60 & echo; wait'; wait")
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as shell:
        assert shell.stdout is not None
        shell.stdout.readline()
        action = EvidenceCollection(tmp_path, BootOffsets())
        start = start_of(shell.pid)
        text = action.do(what("process", pid=shell.pid, start_time=start)).text
        with pytest.raises(TargetGone, match="has ended"):
            action.do(what("process", pid=shell.pid, start_time=start - 5_000_000_000))
        os.killpg(shell.pid, 9)
    assert "; it isn't signed: this host has no key" in text
    rows = read(text)[1]
    assert sum(row["name"] == "sleep" for row in rows.values()) == 2
    assert os.getpid() in rows
    with pytest.raises(TargetGone, match="has ended"):
        action.do(what("process", pid=shell.pid, start_time=start))


def test_evidence_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In bytes, in seconds and by the room on the disk; what there is by then is stored, and the rest stated."""
    action = EvidenceCollection(tmp_path, BootOffsets())
    monkeypatch.setattr(evidence, "MAX_BYTES", 20_000)
    text = action.do(what("host")).text
    assert text.endswith("; incomplete: the limit of bytes was reached")
    assert os.getpid() in read(text)[1]
    monkeypatch.setattr(evidence, "SECONDS", 0.0)
    text = action.do(what("host")).text
    assert "; incomplete: " in text
    assert "manifest.json" in read(text)[0]
    monkeypatch.setattr(evidence, "_RESERVE", 1 << 60)
    with pytest.raises(ActionRefused, match="has too little space"):
        action.do(what("host"))


def test_a_process_that_ends_badly_is_stated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No tar is left that looks like evidence."""
    monkeypatch.setattr(evidence, "child_command", lambda *_: ["/bin/sh", "-c", "echo x; kill -9 $$"])
    with pytest.raises(OSError, match="the process that gathers ended with -9"):
        EvidenceCollection(tmp_path, BootOffsets()).do(what("host"))
    monkeypatch.setattr(evidence, "child_command", lambda *_: ["/bin/sleep", "60"])
    monkeypatch.setattr(evidence, "SECONDS", 0.1)
    monkeypatch.setattr(evidence, "_MORE_SECONDS", 0.1)
    with pytest.raises(OSError, match="it took longer than"):
        EvidenceCollection(tmp_path, BootOffsets()).do(what("host"))
    assert list((tmp_path / "evidence").iterdir()) == []
