import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lanner.recorder.rolling import RollingRecording
from tests.ports import free_port
from tests.unit.alerts import alert
from tests.unit.lanner.console.alerts import soon
from tests.unit.lanner.program import lanner, stage

DAY = 86_400 * 10**9
Start = Callable[..., "Command"]


class Command:
    """`lanner console` in a process of its own."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        """Start it, and wait until it serves."""
        self.port = free_port()
        self._errors = folder / "errors"
        with self._errors.open("wb") as errors:
            words = ["console", "--listen", str(self.port), *arguments]
            self.process = stage(words, dict(os.environ), Path.cwd(), errors.fileno(), errors.fileno())
        for _ in soon(30):
            if "console at" in self.errors:
                return
            assert self.process.poll() is None, self.errors

    @property
    def errors(self) -> str:
        """What it wrote to standard error."""
        return self._errors.read_text()

    def ask(self, path: str, token: str = "") -> Any:
        """Return the JSON of an answer."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers=headers)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)

    def wait_for(self, alerts: int) -> Any:
        """Wait until it shows so many alerts; return the page of groups."""
        for _ in soon(20):
            page = self.ask("/api/groups?since=all")
            if page["alerts"] == alerts:
                return page
        raise AssertionError(page)

    def stop(self) -> int:
        """Stop it as a service manager does."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Return a function that starts the command; end all at the end."""
    started: list[Command] = []

    def make(*arguments: str) -> Command:
        started.append(Command(tmp_path, *arguments))
        return started[-1]

    yield make
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
            each.process.wait()


def recording(folder: Path) -> RollingRecording:
    """Return a recording with two alerts, one of them old."""
    made = RollingRecording(folder / "kept", 8 << 20, on_error=print)
    made.store_alert(alert(id="old", time=time.time_ns() - 400 * DAY))
    made.store_alert(alert(id="new", time=time.time_ns()))
    return made


def test_a_recording_that_is_named_is_shown_whole_and_nothing_is_stored(start: Start, tmp_path: Path) -> None:
    """However old its alerts are; the first page shows all time."""
    recording(tmp_path).close()
    state = tmp_path / "state"
    console = start("--file", str(tmp_path / "kept"), "-o", f"console.state_dir={state}")
    assert console.wait_for(2)["total"] == 1
    assert "/?since=all" in urllib.request.urlopen(f"http://127.0.0.1:{console.port}/", timeout=20).url
    assert console.stop() == 0
    assert not state.exists()


def test_this_hosts_recording_is_followed(start: Start, tmp_path: Path) -> None:
    """Without a broker, alerts that `lanner run` records appear; those beyond the limits don't."""
    made = recording(tmp_path)
    console = start("-o", f"keep.folder={tmp_path / 'kept'}", "-o", f"console.state_dir={tmp_path / 'state'}")
    console.wait_for(1)
    made.store_alert(alert(id="next", time=time.time_ns()))
    console.wait_for(2)
    made.close()
    assert console.stop() == 0


def test_tokens_are_made_listed_and_revoked_while_the_console_runs(start: Start, tmp_path: Path) -> None:
    """A token that was made before the start is required from then on."""
    state = ("-o", f"console.state_dir={tmp_path / 'state'}")
    made = lanner("console", "token", "create", "alice", "--role", "analyst", "--expires", "90d", *state)
    assert made.returncode == 0, made.stderr
    token = made.stdout.strip()
    assert token.startswith("lanner_")
    assert "shown once" in made.stderr
    again = lanner("console", "token", "create", "alice", *state)
    assert again.returncode != 0
    assert "there is a token for 'alice' already" in again.stderr
    listed = lanner("console", "token", "list", *state).stdout
    assert "alice" in listed
    assert token not in listed
    assert json.loads(lanner("console", "token", "list", "--format", "json", *state).stdout)[0]["role"] == "analyst"

    recording(tmp_path).close()
    console = start("-o", f"keep.folder={tmp_path / 'kept'}", *state)
    assert console.ask("/api/me", token)["name"] == "alice"
    assert "every user of this host" not in console.errors
    assert lanner("console", "token", "revoke", "alice", *state).returncode == 0
    with pytest.raises(urllib.error.HTTPError, match="401"):
        console.ask("/api/me", token)
    assert lanner("console", "token", "revoke", "alice", *state).returncode != 0


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("--listen", "0.0.0.0:1"), "lanner console token create"),
        (("--listen", "nonsense"), "must be a port"),
        (("-o", "console.proxy_addresses=[nonsense]"), "console.proxy_addresses"),
        (("--file", "/nowhere"), "no such file"),
        (("token", "create"), "needs a NAME"),
    ],
)
def test_mistakes_are_explained(arguments: tuple[str, ...], part: str, tmp_path: Path) -> None:
    """No traceback, and an exit code."""
    recording(tmp_path).close()
    settings = ("-o", f"keep.folder={tmp_path / 'kept'}", "-o", f"console.state_dir={tmp_path / 'state'}")
    done = lanner("console", *arguments, *settings)
    assert done.returncode != 0
    assert part in done.stderr
    assert "Traceback" not in done.stderr


def test_a_console_that_waits_for_a_broker_can_be_stopped(tmp_path: Path) -> None:
    """A signal ends the wait at once."""
    settings = ("-o", f"kafka.bootstrap_servers=127.0.0.1:{free_port()}", "-o", f"console.state_dir={tmp_path}")
    process = subprocess.Popen([sys.executable, "-m", "lanner", "console", "--topic", *settings])
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(4)
    process.terminate()
    assert process.wait(10) == 0
