import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lanner.errors import BadInput
from lanner.settings import load_settings
from lanner.wiring.sinks.apprise import apprise_of
from notifier.delivery.outcome import Delivered, RemoteSink, RetryLater, RoutedAlert
from notifier.remote.apprise import harmless
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


def services(*servers: HttpServer) -> RemoteSink:
    """Give the sink as a user sets it up: one address a line, comments between."""
    lines = [f"json://made-up-user:made-up-password@127.0.0.1:{each.port}/in" for each in servers]
    return apprise_of(load_settings(None, {}), {"LANNER_APPRISE_URLS": "# ours\n\n" + "\n".join(lines)})


def test_an_alert_is_told_to_every_service(servers: tuple[HttpServer, HttpServer]) -> None:
    """With a title for phones, the route's text, and how grave it is."""
    assert services(*servers).offer([RoutedAlert(alert(), text="in other words")]) == Delivered()
    for server in servers:
        (request,) = server.taken
        made = json.loads(request.body)
        assert made["title"] == "Warning | A rule | web-3"
        assert made["message"] == f"in other words\nlanner context {alert().id}"
        assert made["type"] == "warning"


def test_a_service_that_has_it_is_not_told_again_while_another_fails(
    servers: tuple[HttpServer, HttpServer], capfd: pytest.CaptureFixture[str]
) -> None:
    """The trouble names the service, and no address."""
    receiver = services(*servers)
    servers[1].faults = ["500", "close"]
    for said in ("address 2, HTTP 500", "address 2"):
        assert receiver.offer([RoutedAlert(alert())]) == RetryLater(f"not taken by JSON ({said})")
    assert receiver.offer([RoutedAlert(alert())]) == Delivered()
    assert receiver.offer([RoutedAlert(alert(id="another"))]) == Delivered()
    assert [len(each.taken) for each in servers] == [2, 2]
    assert "made-up" not in "".join(capfd.readouterr())


def test_hostile_text_mentions_nobody_and_links_nowhere() -> None:
    """Whatever a service makes of such letters, they no longer stand together."""
    made = harmless("@everyone <!channel> [x](https://evil.example) *b* `c`\n\x1b[31m", 500)
    for active in ("@everyone", "<!", "](", "://", "evil.example", "*b", "\n", "\x1b"):
        assert active not in made
    assert len(harmless("@" * 5000, 1500)) == 1500


def test_an_address_that_is_none_is_told_by_its_place(tmp_path: Path) -> None:
    """At the start, without quoting it."""
    path = tmp_path / "urls"
    path.write_text("json://127.0.0.1\nno-such-service://made-up-secret\n")
    with pytest.raises(BadInput, match=r"^apprise_output: address 2 is none that Apprise knows\.$"):
        apprise_of(load_settings(None, {}, [f"apprise_output.urls_file={path}"]), {})
    with pytest.raises(BadInput, match="needs addresses"):
        apprise_of(load_settings(None, {}), {})
