import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.live.lanner.watching import Watching, eventually, touch_mark
from tests.ports import free_port

pytestmark = pytest.mark.live


def ask(port: int, path: str) -> Any:
    """Return the JSON of an answer."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
        return json.load(answer)


def test_an_alert_of_this_host_is_in_the_console_and_still_after_the_view_was_deleted(
    rules: Path, tmp_path: Path
) -> None:
    """Without Kafka: `lanner run` serves it, and fills the view from its recording."""
    port = free_port()
    state, kept = tmp_path / "state", tmp_path / "kept"
    settings = ["enabled=true", f"listen=127.0.0.1:{port}", f"state_dir={state}"]
    flags = [part for each in settings for part in ("-o", f"console.{each}")]
    for number in (1, 2):
        with Watching("run", "-r", rules, "-o", f"keep.folder={kept}", *flags) as lanner:
            assert f"console at http://127.0.0.1:{port}/" in lanner.err.text
            mark = touch_mark(tmp_path)
            lanner.out.wait_for(str(mark))
            eventually(
                lambda number=number: ask(port, "/api/groups")["alerts"] == number,  # type: ignore[misc]
                "the alert is not in the console",
            )
            (group,) = ask(port, "/api/groups")["groups"]
            assert (group["rule"], group["count"]) == ("Marked file read", number)
            assert group["sample"].startswith("cat (root) opened ")
            assert lanner.end() == 0
        for path in state.glob("alerts.db*"):
            path.unlink()
