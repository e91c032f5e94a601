import re
import socket
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from bus.connection import Connection
from lanner.console.pipeline import PipelineSource
from lanner.operations.freshness import PipelineQueue
from lanner.settings import load_settings
from lanner.wiring.stages.console import open_accounts
from lanner.wiring.stages.consoles import fleet_pipeline, outbox_pipeline
from notifier.outbox import Outbox
from tests.ports import free_port
from tests.unit.alerts import alert
from tests.unit.lanner.console.alerts import soon
from tests.unit.lanner.console.server.conftest import Serve
from tests.unit.lanner.console.server.running import HEADER, Served

HOSTILE = "<script>alert(1)</script>\u202e\x1b[2J"


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    """Return the outbox of a sink that refused two alerts, and in which one waits."""
    made = Outbox(tmp_path / "slack.outbox.db", capacity=10)
    for name in ("one", "two"):
        made.put(alert(id=name, rule=f"Rule {name}"))
        made.dead_letter(made.fetch(1, 0)[0], HOSTILE, 3)
    made.put(alert(id="three"))
    yield made
    made.close()


@pytest.fixture
def served(serve: Serve, outbox: Outbox, tmp_path: Path) -> Served:
    """Return the console of the host with that outbox."""
    assert outbox.backlog() == 1
    return serve(pipeline=outbox_pipeline(load_settings(None, {}, [f"notifier.state_dir={tmp_path}"])))


def check(served: Served, path: str, answer: Any, method: str = "get") -> None:
    """Check that an answer is as described."""
    description = served.ask("/api/openapi.json").json
    schema = description["paths"][path][method]["responses"]["200"]["content"]["application/json"]["schema"]
    Draft202012Validator(schema | {"components": description["components"]}).validate(answer)


def test_queues_and_dead_letters_of_a_host_are_shown(served: Served) -> None:
    """On the page and in the API; what isn't known is stated."""
    page = served.ask("/pipeline").text
    assert "slack:1" in page
    assert "Rule two" in page
    assert "only sinks that send over the network have a queue" in page
    found = served.ask("/api/pipeline").json
    check(served, "/api/pipeline", found)
    (queue,) = found["queues"]
    assert (queue["kind"], queue["name"], queue["waiting"], queue["readers"]) == ("sink", "slack", 1, None)
    letters = served.ask("/api/dead-letters").json
    check(served, "/api/dead-letters", letters)
    assert [each["id"] for each in letters["dead_letters"]] == ["slack:1", "slack:2"]
    assert letters["has_more"] is False


def test_reasons_are_only_text(served: Served) -> None:
    """A receiver chooses them."""
    page = served.ask("/pipeline").text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\\u202e\\x1b[2J" in page
    assert "<script>alert" not in page


def test_dead_letters_are_replayed_and_audited(served: Served, outbox: Outbox) -> None:
    """They leave the list at once, and their sink gets them."""
    assert "slack:2" in served.ask("/pipeline").text
    answer = served.ask("/api/dead-letters/replay", {"ids": ["slack:1", "slack:2"]}, headers=HEADER)
    assert (answer.status, answer.json) == (200, {"replayed": ["slack:1", "slack:2"], "problem": ""})
    check(served, "/api/dead-letters/replay", answer.json, "post")
    assert served.ask("/api/dead-letters").json["dead_letters"] == []
    assert [each.alert.id for each in outbox.fetch(9, 0)] == ["three", "one", "two"]
    entry = served.audit()[-1]
    assert (entry["action"], entry["subject"], entry["value"]) == ("replay", "dead-letters", "slack:1 slack:2")


def test_what_can_not_be_replayed_is_reported(served: Served) -> None:
    """With what was replayed before."""
    answer = served.ask("/api/dead-letters/replay", {"ids": ["slack:1", "slack:7"]}, headers=HEADER)
    assert answer.json["replayed"] == ["slack:1"]
    assert answer.json["problem"].startswith("slack:7: no such dead letter")
    answer = served.ask("/api/dead-letters/replay", {"ids": ["teams:1"]}, headers=HEADER)
    assert "'teams:1' is not a valid dead-letter id" in answer.json["problem"]


def test_only_analysts_replay_and_no_page_of_another_site(served: Served) -> None:
    """As with decisions."""
    body = {"ids": ["slack:1"]}
    assert served.ask("/api/dead-letters/replay", body).status == 403
    headers = HEADER | {"Origin": "https://evil.example"}
    assert served.ask("/api/dead-letters/replay", body, headers=headers).status == 403
    token = open_accounts(served.settings).create_token("bob", "viewer", 0, 0)
    bearer = {"Authorization": f"Bearer {token}"}
    assert served.ask("/api/dead-letters/replay", body, headers=bearer).status == 403
    page = served.ask("/pipeline", headers=bearer).text
    assert "slack:1" in page
    assert "data-replay" not in page
    assert len(served.ask("/api/dead-letters").json["dead_letters"]) == 2


@pytest.mark.parametrize(
    "body", [b"{", [], {}, {"ids": []}, {"ids": "slack:1"}, {"ids": [1]}, {"ids": ["x" * 999]}, {"ids": ["a:1"] * 201}]
)
def test_a_request_that_is_not_valid_is_refused(body: Any, served: Served) -> None:
    """Nothing is replayed or recorded."""
    assert served.ask("/api/dead-letters/replay", body, headers=HEADER).status == 400


def test_a_recording_has_no_pipeline(serve: Serve) -> None:
    """The page explains it."""
    served = serve()
    assert "A recording has no pipeline" in served.ask("/pipeline").text
    assert served.ask("/api/dead-letters/replay", {"ids": ["a:1"]}, headers=HEADER).status == 404


def test_a_broker_that_is_away_is_reported_soon(serve: Serve) -> None:
    """It is on the page for queues and for dead letters."""
    connection = Connection(bootstrap_servers=f"127.0.0.1:{free_port()}")
    served = serve(pipeline=fleet_pipeline(connection))
    began = time.monotonic()
    page = served.ask("/pipeline")
    assert time.monotonic() - began < 10
    assert page.status == 200
    assert page.text.count("no answer from a broker at") == 2
    assert served.ask("/api/pipeline").status == 503
    answer = served.ask("/api/dead-letters/replay", {"ids": ["notifier:1"]}, headers=HEADER)
    assert (answer.status, "no answer from a broker" in answer.json["error"]) == (503, True)
    assert time.monotonic() - began < 20


def test_a_broker_that_hangs_keeps_no_page_waiting(serve: Serve) -> None:
    """It takes connections, and answers nothing: the page states that it doesn't know."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listening:
        connection = replace(Connection(), bootstrap_servers=f"127.0.0.1:{listening.getsockname()[1]}")
        served = serve(pipeline=fleet_pipeline(connection))
        began = time.monotonic()
        page = served.ask("/pipeline").text
        assert time.monotonic() - began < 20
        assert 'role="alert"' in page
        served.stop()


def test_every_page_says_until_when_events_are_evaluated(serve: Serve) -> None:
    """With the worst problems, once they are known; a console whose detection is current has no bar."""
    late = PipelineQueue("processor", "processors", "correlate", 762_382, time.time() - 841, 2)
    queues = [late]
    served = serve(pipeline=PipelineSource(lambda: queues, lambda: nullcontext(())))
    served.ask("/pipeline")
    for path in ("/", "/rules", "/pipeline"):
        page = served.ask(path).text
        assert re.search(r"data-late>\s*Evaluated up to <time", page)
        assert re.search(r"Evaluation correlate: 14m \d+s behind: 762,382 messages wait for processors\.", page)
    queues[0] = replace(late, oldest=time.time())
    assert any("data-late" not in served.ask("/").text for _ in soon())
