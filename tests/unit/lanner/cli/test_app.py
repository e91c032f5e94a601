from pathlib import Path

import pytest

from bus.connection import BusUnavailable
from foundation.errors import EnvironmentUnsupported, TooBusy
from lanner.cli import app

UNITS = Path(__file__).parents[4] / "deploy" / "systemd"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (EnvironmentUnsupported("no BTF", "upgrade"), 3),
        (BusUnavailable("no answer", "start it"), 3),
        (TooBusy("storm", "wait"), 4),
    ],
)
def test_systemd_starts_again_what_was_only_too_busy(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: EnvironmentUnsupported | BusUnavailable,
    code: int,
) -> None:
    """A user who starts many programs must not keep a collector from restarting."""

    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr(app.lanner_command, "main", fail)
    assert app.run_command_line() == code
    printed = capsys.readouterr().err
    assert f"{error.reason}: {error.remedy}." in printed
    # It is about the host, not about the broker.
    assert ("lanner doctor" in printed) is (type(error) is EnvironmentUnsupported)
    for unit in ("lanner.service", "lanner-collector.service"):
        text = (UNITS / unit).read_text()
        final = next(line for line in text.splitlines() if line.startswith("RestartPreventExitStatus="))
        assert (str(code) in final) is (code == 3)
        assert "Restart=on-failure" in text
