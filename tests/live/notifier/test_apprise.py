import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lanner.errors import BadInput
from lanner.settings import load_settings
from lanner.wiring.sinks.registry import open_sink
from notifier.formats.falco import harmless
from notifier.sink import Delivered, RetryLater, RoutedAlert, Sink
from tests.live.notifier.http_server import HttpServer
from tests.unit.alerts import alert


@pytest.fixture
def servers() -> Iterator[tuple[HttpServer, HttpServer]]:
    """Run two services."""
    made = (HttpServer(), HttpServer())
    try:
        yield made
    finally:
        for each in made:
            each.close()


def services(*servers: HttpServer) -> Sink:
    """Return the sink as a user configures it: one URL a line, with comments."""
    lines = [f"json://made-up-user:made-up-password@127.0.0.1:{each.port}/in" for each in servers]
    return open_sink(
        load_settings(None, {}), "apprise", environment={"LANNER_APPRISE_URLS": "# ours\n\n" + "\n".join(lines)}
    )


def test_an_alert_is_sent_to_every_service(servers: tuple[HttpServer, HttpServer]) -> None:
    """It has a title for phones, the route's text and a severity."""
    assert services(*servers).send([RoutedAlert(alert(), text="in other words")]) == Delivered()
    for server in servers:
        (request,) = server.taken
        made = json.loads(request.body)
        assert made["title"] == "Warning | A rule | web-3"
        assert made["message"] == f"in other words\nlanner context {alert().id}"
        assert made["type"] == "warning"


def test_a_service_that_has_an_alert_does_not_get_it_again_while_another_fails(
    servers: tuple[HttpServer, HttpServer], capfd: pytest.CaptureFixture[str]
) -> None:
    """The reason names the service, and no URL."""
    sink = services(*servers)
    servers[1].faults = ["500", "close"]
    for said in ("URL 2, HTTP 500", "URL 2"):
        assert sink.send([RoutedAlert(alert())]) == RetryLater(f"not accepted by JSON ({said})")
    assert sink.send([RoutedAlert(alert())]) == Delivered()
    assert sink.send([RoutedAlert(alert(id="another"))]) == Delivered()
    assert [len(each.taken) for each in servers] == [2, 2]
    assert "made-up" not in "".join(capfd.readouterr())


def test_hostile_text_mentions_nobody_and_links_nowhere() -> None:
    """Characters that a service might act on are separated."""
    made = harmless("@everyone <!channel> [x](https://evil.example) *b* `c`\n\x1b[31m", 500)
    for active in ("@everyone", "<!", "](", "://", "evil.example", "*b", "\n", "\x1b"):
        assert active not in made
    assert len(harmless("@" * 5000, 1500)) == 1500


def test_an_invalid_url_is_reported_by_its_number(tmp_path: Path) -> None:
    """It is reported at start, and not quoted."""
    path = tmp_path / "urls"
    path.write_text("json://127.0.0.1\nno-such-service://made-up-secret\n")
    with pytest.raises(BadInput, match=r"^apprise_output: URL 2 is not one that Apprise supports\.$"):
        open_sink(load_settings(None, {}, [f"apprise_output.urls_file={path}"]), "apprise", environment={})
    with pytest.raises(BadInput, match="needs URLs"):
        open_sink(load_settings(None, {}), "apprise", environment={})
