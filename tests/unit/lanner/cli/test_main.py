from pathlib import Path

import pytest

from foundation.errors import EnvironmentUnsupported, TooBusy
from lanner.cli import main

UNITS = Path(__file__).parents[4] / "deploy" / "systemd"


@pytest.mark.parametrize(
    ("error", "code"), [(EnvironmentUnsupported("no BTF", "upgrade"), 3), (TooBusy("storm", "wait"), 4)]
)
def test_systemd_starts_again_what_was_only_too_busy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: EnvironmentUnsupported, code: int
) -> None:
    """A user who starts many programs must not keep a collector from restarting."""

    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr(main.lanner_command, "main", fail)
    assert main.run_command_line() == code
    assert f"{error.reason}: {error.remedy}." in capsys.readouterr().err
    for unit in ("lanner.service", "lanner-collector.service"):
        text = (UNITS / unit).read_text()
        final = next(line for line in text.splitlines() if line.startswith("RestartPreventExitStatus="))
        assert (str(code) in final) is (code == 3)
        assert "Restart=on-failure" in text
