import json
import os
import stat
from pathlib import Path

import pytest

from collector.bpf.program import _keep, _trusted

RESULT = {"bcc": "0.26", "maps": {}, "programs": {"on_exit": {"code": "lQAAAAAAAAA=", "maps": []}}}
NOBODY = 65534


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """Give a compilation as the collector keeps it."""
    path = tmp_path / "cache" / "bpf-1.json"
    _keep(path, RESULT)
    return path


def test_a_kept_compilation_is_read_again(kept: Path) -> None:
    """Nobody else may read or write it, nor put another one in its place."""
    assert _trusted(kept) == RESULT
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.parent.stat().st_mode) == 0o700
    assert list(kept.parent.iterdir()) == [kept]


def test_a_new_compilation_takes_the_old_one_s_place(kept: Path) -> None:
    """Whole or not at all."""
    _keep(kept, {**RESULT, "bcc": "0.27"})

    assert _trusted(kept)["bcc"] == "0.27"
    assert list(kept.parent.iterdir()) == [kept]


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666, 0o777])
def test_what_others_can_write_is_not_trusted(kept: Path, mode: int) -> None:
    """What stands in it goes into the kernel as root."""
    kept.chmod(mode)

    with pytest.raises(ValueError, match="bpf-1"):
        _trusted(kept)


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o644, 0o444])
def test_what_others_can_only_read_is_trusted(kept: Path, mode: int) -> None:
    """It holds no secret."""
    kept.chmod(mode)

    assert _trusted(kept) == RESULT


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_what_another_user_owns_is_not_trusted(kept: Path) -> None:
    """An owner can change the mode at any time."""
    os.chown(kept, NOBODY, 0)

    with pytest.raises(ValueError, match="bpf-1"):
        _trusted(kept)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_link_to_what_another_user_owns_is_not_trusted(kept: Path) -> None:
    """The file counts, not the name."""
    os.chown(kept, NOBODY, 0)
    link = kept.with_name("link.json")
    link.symlink_to(kept)

    with pytest.raises(ValueError, match="link"):
        _trusted(link)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", json.dumps(RESULT).encode()[:-1]])
def test_what_is_cut_off_is_not_trusted(kept: Path, content: bytes) -> None:
    """A full disk leaves such files; the caller then compiles anew."""
    kept.write_bytes(content)

    with pytest.raises((json.JSONDecodeError, UnicodeDecodeError)):
        _trusted(kept)


def test_what_is_not_there_is_not_trusted(tmp_path: Path) -> None:
    """The first start."""
    with pytest.raises(FileNotFoundError):
        _trusted(tmp_path / "none.json")
