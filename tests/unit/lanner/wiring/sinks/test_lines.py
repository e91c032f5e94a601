import io
import json
from dataclasses import replace

import pytest

from lanner.settings import Settings
from lanner.settings.sections.sinks import PrintedFormat, StdoutOutput
from lanner.wiring.sinks.lines import alert_lines
from tests.unit.alerts import alert


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        """Return True."""
        return True


def printed(settings: Settings, stream: io.StringIO) -> str:
    """Return the alert as it is printed, without its time."""
    return alert_lines(settings, stream)(alert())


def test_people_get_text_and_programs_get_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal gets several lines; a pipe gets Falco's."""
    monkeypatch.setenv("NO_COLOR", "1")

    assert "\n  id    " in printed(Settings(), Terminal())
    assert printed(Settings(), io.StringIO()).endswith(": Warning A file was read | file=/etc/shadow")


@pytest.mark.parametrize("stream", [Terminal(), io.StringIO()])
def test_a_format_that_is_set_holds_everywhere(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    """It overrides json_output too."""
    monkeypatch.setenv("NO_COLOR", "1")

    def form(name: PrintedFormat) -> Settings:
        return replace(Settings(), json_output=True, stdout_output=StdoutOutput(format=name))

    assert "\n  id    " in printed(form("text"), stream)
    assert printed(form("line"), stream).endswith(": Warning A file was read | file=/etc/shadow")
    assert json.loads(printed(form("json"), stream))["rule"] == "A rule"
    assert json.loads(printed(replace(Settings(), json_output=True), stream))["rule"] == "A rule"


def test_lines_are_colored_on_terminals_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR turns colors off."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    lines = replace(Settings(), stdout_output=StdoutOutput(format="line"))

    assert "\x1b[" in printed(lines, Terminal())
    assert "\x1b[" in printed(Settings(), Terminal())
    assert "\x1b[" not in printed(lines, io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in printed(Settings(), Terminal())
