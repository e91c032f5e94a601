import os
from pathlib import Path

import pytest

from lanner.settings import load_settings
from lanner.settings.faults import BadSettings
from lanner.wiring.stages.console import console_parts, open_accounts


@pytest.mark.skipif("CI" not in os.environ and os.geteuid() != 0, reason="gives a folder to another user")
def test_root_makes_tokens_that_a_service_of_another_user_can_read(tmp_path: Path) -> None:
    """The file, and those that SQLite makes beside it, belong to the owner of the folder."""
    folder = tmp_path / "lanner-console"
    folder.mkdir(mode=0o700)
    os.chown(folder, 61_000, 61_001)
    accounts = open_accounts(load_settings(None, {}, [f"console.state_dir={folder}"]))
    accounts.create_token("alice", "analyst", 0)
    owners = {(path.stat().st_uid, path.stat().st_gid) for path in folder.iterdir()}
    assert len(list(folder.iterdir())) > 1
    assert owners == {(61_000, 61_001)}
    accounts.close()


@pytest.mark.parametrize("text", [None, b"alice analyst", b"\xff"])
def test_a_file_that_is_missing_or_wrong_is_an_error_in_the_settings(text: bytes | None, tmp_path: Path) -> None:
    """It names the setting and the file."""
    file = tmp_path / "tokens"
    if text is not None:
        file.write_bytes(text)
    with pytest.raises(BadSettings, match=r"console.tokens_file: .*tokens: "):
        console_parts(load_settings(None, {}, [f"console.tokens_file={file}"]))
