"""Required content of the units; tests/deploy checks whether systemd understands them."""

from pathlib import Path

import pytest

UNITS = Path("deploy/systemd")


@pytest.mark.parametrize("name", ["lanner.service", "lanner-notifier@.service"])
def test_journald_drops_nothing_of_a_unit_that_prints_alerts(name: str) -> None:
    """Its default takes some ten thousand lines in half a minute: whoever makes them hides what follows."""
    assert "LogRateLimitIntervalSec=0" in (UNITS / name).read_text().splitlines()


@pytest.mark.parametrize(
    "name",
    ["lanner-processor@.service", "lanner-notifier@.service", "lanner-console.service", "lanner-archive.service"],
)
def test_a_start_may_wait_for_a_broker(name: str) -> None:
    """However long that is away: systemd would end the start after a minute and a half."""
    assert "TimeoutStartSec=infinity" in (UNITS / name).read_text().splitlines()
