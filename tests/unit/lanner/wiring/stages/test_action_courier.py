"""Which hosts of a fleet pass on requests to act."""

import pytest

from bus.connection import Connection
from collector.host import this_host
from lanner.settings.load import read_settings
from lanner.wiring.stages.fleet_collector import action_courier


@pytest.mark.parametrize(
    ("setting", "stated"),
    [("collector.actions.enabled=[]", ""), ("collector.actions.enabled=[kill]", "no keys are accepted")],
)
def test_a_host_of_a_fleet_without_keys_does_nothing(
    capsys: pytest.CaptureFixture[str], setting: str, stated: str
) -> None:
    """Anyone with the right to write to the topic could request anything otherwise."""
    settings = read_settings(None, {}, (setting,), ()).valid()

    assert action_courier(settings, Connection("127.0.0.1:1"), this_host("h"), None, frozenset) is None
    assert stated in capsys.readouterr().err
