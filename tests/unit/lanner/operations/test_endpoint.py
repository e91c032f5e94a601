import urllib.request
from functools import partial

import pytest

from lanner.libraries import Environment
from lanner.operations.catalogue import CLOSED, closed_connections
from lanner.operations.health import Health
from lanner.settings import load_settings
from lanner.wiring.servers import endpoint


def test_connections_that_were_closed_are_counted_by_server() -> None:
    """The stage's own servers, and the one that is asked."""
    stage = {CLOSED: closed_connections("intake", {"evicted": 7})}
    with endpoint(
        load_settings(None, {}, ["http.listen=127.0.0.1:0"]), "notifier", lambda: stage, Health(tuple, tuple, tuple)
    ) as server:
        assert server is not None
        text = urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=10).read().decode()
    assert 'lanner_connections_closed_total{reason="evicted",server="intake"} 7.0' in text
    assert 'lanner_connections_closed_total{reason="evicted",server="metrics"} 0.0' in text


@pytest.mark.parametrize(("image", "warnings"), [("", 1), ("collector", 0)])
def test_an_address_that_others_reach_is_reported_unless_it_is_a_containers(
    image: str, warnings: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The images listen on all addresses of their container, whose network decides who can connect."""
    monkeypatch.setattr("lanner.wiring.servers.Environment", partial(Environment, image=image))
    with endpoint(load_settings(None, {}, ["http.listen=0.0.0.0:0"]), "notifier", dict, Health(tuple, tuple, tuple)):
        assert capsys.readouterr().err.count("open to anyone") == warnings
