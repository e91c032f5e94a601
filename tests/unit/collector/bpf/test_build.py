import json
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from collector.bpf.build import BuildTarget, ProgramMismatch, find_program, read_program, store_program

HERE = BuildTarget("program")
RESULT = {"bcc": "0.26.0", "maps": {"events": {}}, "variants": {"typed": {"on_exit": {"code": "lQAAAAAAAAA="}}}}
NOBODY = 65534


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """Return a compilation as the collector stores it."""
    path = tmp_path / "cache" / HERE.file_name
    store_program(path, RESULT, HERE)
    return path


def test_a_cached_compilation_is_read_again(stored: Path) -> None:
    """Nobody else may read or write it, or replace it."""
    assert read_program(stored, HERE)["variants"] == RESULT["variants"]
    assert stat.S_IMODE(stored.stat().st_mode) == 0o600
    assert stat.S_IMODE(stored.parent.stat().st_mode) == 0o700
    assert list(stored.parent.iterdir()) == [stored]


def test_a_new_compilation_takes_the_old_one_s_place(stored: Path) -> None:
    """Atomically."""
    store_program(stored.with_name(HERE.file_name), {**RESULT, "bcc": "0.27.0"}, HERE)

    assert read_program(stored, HERE)["bcc"] == "0.27.0"
    assert list(stored.parent.iterdir()) == [stored]


def test_what_another_version_compiled_does_not_fit(stored: Path) -> None:
    """The error gives the reason."""
    with pytest.raises(ProgramMismatch, match="another version of Lanner"):
        read_program(stored, replace(HERE, program="other"))


def test_the_first_place_with_one_that_fits_is_taken(stored: Path, tmp_path: Path) -> None:
    """Files and folders, missing ones too; a file may have any name."""
    given = stored.rename(tmp_path / "given.json")
    other = tmp_path / "others" / "x.json"
    store_program(other, RESULT, replace(HERE, program="other"))

    found, unfit = find_program([tmp_path / "none", tmp_path / "none.json", other.parent, given], HERE)

    assert found is not None
    assert found[0] == given
    assert unfit == [f"{other}: compiled by another version of Lanner"]
    assert find_program([other.parent], HERE)[0] is None


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666, 0o777])
def test_what_others_can_write_is_not_trusted(stored: Path, mode: int) -> None:
    """Its content is loaded into the kernel as root."""
    stored.chmod(mode)

    with pytest.raises(ProgramMismatch, match="users other than root"):
        read_program(stored, HERE)


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o644, 0o444])
def test_what_others_can_only_read_is_trusted(stored: Path, mode: int) -> None:
    """It contains no secret."""
    stored.chmod(mode)

    assert read_program(stored, HERE)


@pytest.mark.skipif("CI" not in os.environ and os.geteuid() != 0, reason="only root can give a file away")
def test_what_another_user_owns_is_not_trusted(stored: Path) -> None:
    """An owner can change the mode at any time; for a link, the file counts."""
    os.chown(stored, NOBODY, 0)
    link = stored.with_name("link.json")
    link.symlink_to(stored)

    for path in (stored, link):
        with pytest.raises(ProgramMismatch, match="users other than root"):
            read_program(path, HERE)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"\xff\xfe", json.dumps(RESULT).encode(), json.dumps(RESULT).encode()[:-1]]
)
def test_what_is_cut_off_or_something_else_is_not_trusted(stored: Path, content: bytes) -> None:
    """A full disk leaves such files; the caller then compiles again."""
    stored.write_bytes(content)

    with pytest.raises(ProgramMismatch, match="not a compiled program"):
        read_program(stored, HERE)


def test_what_is_not_there_is_distinguished(tmp_path: Path) -> None:
    """As at the first start."""
    with pytest.raises(FileNotFoundError):
        read_program(tmp_path / "none.json", HERE)
