import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from collector.host import HostFacts
from lanner.errors import BadInput
from lanner.settings import Settings, load_settings
from lanner.wiring.stages.collector import identity_of

HOST = HostFacts("web-1", "web.example", "boot-1", "6.1")


def settings(folder: Path, *flags: str) -> Settings:
    """Return settings with a folder of their own."""
    return load_settings(None, {}, (f"kafka.spool_dir={folder}", *flags))


def test_a_collector_signs_unless_disabled(tmp_path: Path) -> None:
    """It signs with a key beside its spool, or with the configured one."""
    made = identity_of(settings(tmp_path / "spool"), HOST)
    assert made is not None
    assert (made.host_id, made.hostname) == ("web-1", "web.example")
    assert (tmp_path / "spool" / "host.key").exists()
    other = identity_of(settings(tmp_path / "spool", f"collector.key_file={tmp_path / 'other'}"), HOST)
    assert other is not None
    assert other.key.public_key != made.key.public_key
    assert identity_of(settings(tmp_path / "none", "collector.identity=off"), HOST) is None
    assert not (tmp_path / "none").exists()


def test_what_can_not_be_used_is_reported_and_not_replaced(tmp_path: Path) -> None:
    """A broken key is an error, because a new key would lock the host out."""
    path = tmp_path / "host.key"
    with pytest.raises(BadInput, match=r"host\.id: the host id has 300 bytes"):
        identity_of(settings(tmp_path), replace(HOST, id="x" * 300))
    path.touch(0o600)
    with pytest.raises(BadInput, match="not an Ed25519 private key"):
        identity_of(settings(tmp_path), HOST)
    assert path.read_bytes() == b""
    path.unlink()
    path.mkdir()
    with pytest.raises(BadInput, match="Is a directory"):
        identity_of(settings(tmp_path), HOST)


@pytest.mark.parametrize(
    ("modules", "left_out"),
    [
        (
            "lanner.wiring.stages.single_host, lanner.wiring.stages.collector, lanner.ruleset.compile",
            "bus.signatures collector.publishing.identity concurrent.futures csv difflib gzip logging pickle tempfile",
        ),
        (
            "collector.publishing.publisher, lanner.wiring.stages.collector, lanner.wiring.stages.fleet_collector",
            "bus.signatures",
        ),
    ],
)
def test_no_more_is_loaded_than_is_needed(modules: str, left_out: str) -> None:
    """`lanner run` loads no library for signatures, nor for logs and lists; a collector none for verification."""
    code = f"import sys, {modules}; print(*(set('cryptography nacl {left_out}'.split()) & set(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == ""
