import re
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from notifier.outbox import Outbox
from notifier.sink import Delivered, RateLimited, RetryLater, RoutedAlert, SendOutcome, Undeliverable
from notifier.sinks.slack import client as client_module
from notifier.sinks.slack.client import SlackClient, WebApi, Webhook
from notifier.sinks.slack.sink import PostedMessages, SlackSink
from schemas.alert import Repeats
from tests.live.notifier.slack_server import SlackServer
from tests.unit.alerts import TIME, alert
from tests.unit.notifier.scripted import Clock, worker


@pytest.fixture
def slack() -> Iterator[SlackServer]:
    """Run a stand-in."""
    server = SlackServer()
    try:
        yield server
    finally:
        server.close()


@pytest.fixture(params=["webhook", "api"])
def client(request: pytest.FixtureRequest, slack: SlackServer) -> SlackClient:
    """Return each of the two clients."""
    return Webhook(slack.webhook) if request.param == "webhook" else web(slack)


def web(slack: SlackServer, token: str = "made-up-token") -> WebApi:  # noqa: S107
    """Return a client of the Web API."""
    return WebApi(token, "#alerts", base_url=slack.api)


def offer(client: SlackClient, **facts: Any) -> SendOutcome:
    """Offer one alert to a fresh sink."""
    return SlackSink(client).send([RoutedAlert(alert(**facts))])


def test_an_alert_is_posted(slack: SlackServer, client: SlackClient) -> None:
    """With a text for phones, and blocks."""
    assert offer(client) == Delivered()
    (posted,) = slack.posted
    assert posted["text"] == ":warning: Warning | A rule | web-3"
    assert posted["attachments"][0]["blocks"]
    assert posted.get("channel", "#alerts") == "#alerts"


@pytest.mark.parametrize(
    ("fault", "meaning"),
    [
        ("429", RetryLater("HTTP 429 Too Many Requests", 7.0)),
        ("500", RetryLater("HTTP 500 Internal Server Error")),
        ("close", RetryLater("it closed the connection, or doesn't speak HTTP")),
        ("not_ok", RetryLater("fatal_error")),
        ("revoked", RetryLater("token_revoked")),
        ("invalid_blocks", Undeliverable("invalid_blocks")),
    ],
)
def test_only_what_is_wrong_with_a_message_is_a_refusal(
    slack: SlackServer, client: SlackClient, fault: Any, meaning: SendOutcome
) -> None:
    """All other failures are retried later; Retry-After is honored."""
    slack.faults = [fault]
    outcome = offer(client)
    assert type(outcome) is type(meaning)
    if isinstance(outcome, RetryLater) and isinstance(meaning, RetryLater):
        assert outcome.after == meaning.after
        assert meaning.reason in outcome.reason
    elif isinstance(outcome, Undeliverable):
        assert "invalid_blocks" in outcome.reason
    assert slack.posted == []


def test_an_answer_that_is_none_of_slacks_is_waited_out(slack: SlackServer, client: SlackClient) -> None:
    """A proxy's page must not pass for an acceptance."""
    slack.faults = ["garbage"]
    assert isinstance(offer(client), RetryLater)


def test_a_server_that_hangs_is_left_after_a_while(
    slack: SlackServer, client: SlackClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It must not block the sink permanently."""
    monkeypatch.setattr(client_module, "TIMEOUT_SECONDS", 0.3)
    slack.faults = ["hang"]
    patient = Webhook(slack.webhook) if isinstance(client, Webhook) else web(slack)
    began = time.monotonic()
    assert offer(patient) == RetryLater("no answer in time")
    assert time.monotonic() - began < 8


def test_troubles_name_no_secret() -> None:
    """Neither the webhook's address nor the token."""
    for client in (
        Webhook("https://no-such-host.invalid/services/T0/B0/made-up-secret"),
        WebApi("made-up-token", "#a", base_url="https://no-such-host.invalid/api/"),
    ):
        outcome = offer(client)
        assert isinstance(outcome, RetryLater)
        assert "resolved" in outcome.reason
        assert "made-up" not in outcome.reason + repr(client)


def test_a_wrong_token_is_waited_out(slack: SlackServer) -> None:
    """It is the sink's fault and no alert's."""
    assert offer(web(slack, "another")) == RetryLater("invalid_auth")


def test_a_channel_that_only_a_route_names_may_be_wrong_without_stopping_the_sink(slack: SlackServer) -> None:
    """That alert is refused; the sink's own channel being wrong is waited out."""
    slack.faults = ["no_channel", "no_channel"]
    sink = SlackSink(web(slack))
    assert sink.send([RoutedAlert(alert(), channel="#gone")]) == Undeliverable("channel_not_found: #gone")
    assert sink.send([RoutedAlert(alert())]) == RetryLater("channel_not_found")


def test_a_channel_gets_one_message_a_second(slack: SlackServer) -> None:
    """Another channel needs not wait for it."""
    now = [100.0]
    sink = SlackSink(web(slack), clock=lambda: now[0])
    assert sink.send([RoutedAlert(alert(id="1"))]) == Delivered()
    now[0] += 0.25
    second = RoutedAlert(alert(id="2", output="another"))
    assert sink.send([second]) == RateLimited(0.75)
    assert sink.send([RoutedAlert(alert(id="3"), channel="#other")]) == Delivered()
    now[0] += 0.75
    assert sink.send([second]) == Delivered()
    assert [each["channel"] for each in slack.posted] == ["#alerts", "#other", "#alerts"]


def sink_over(slack: SlackServer, now: list[float], path: Path | None = None) -> SlackSink:
    """Return a sink over the Web API whose clocks are moved by hand."""
    return SlackSink(web(slack), PostedMessages(path), clock=lambda: now[0], wall=lambda: 1e9 + now[0])


def test_a_summary_is_threaded_and_counted_in_the_first_message_also_after_a_restart(
    slack: SlackServer, tmp_path: Path
) -> None:
    """An edit that fails is made up for later, even by the next process."""
    now = [100.0]
    first = alert(id="first")
    before = sink_over(slack, now, tmp_path / "slack.db")
    before.send([RoutedAlert(first, text="in other words")])
    before.close()
    now[0] += 600
    sink = sink_over(slack, now, tmp_path / "slack.db")
    summary = replace(first, id="second", repeats=Repeats("first", 412, TIME, TIME + 10**10, 6 * 10**11))
    assert sink.send([RoutedAlert(summary)]) == Delivered()
    assert slack.posted[1]["thread_ts"] == "1700000000.000001"
    slack.faults = ["500"]
    sink.idle()
    assert slack.edited == []
    sink.close()
    sink = sink_over(slack, now, tmp_path / "slack.db")
    sink.idle()
    sink.idle()
    (edited,) = slack.edited
    assert edited["ts"] == "1700000000.000001"
    assert edited["text"].endswith("| 412 more")
    assert "in other words" in str(edited)
    assert (tmp_path / "slack.db").stat().st_mode & 0o777 == 0o600


def test_what_comes_again_threads_under_the_first_for_an_hour(slack: SlackServer) -> None:
    """Without any suppress: the same rule, place and text but for numbers; another file is a message of its own."""
    now = [100.0]
    sink = sink_over(slack, now)
    for number in range(4):
        assert (
            sink.send([RoutedAlert(alert(id=f"id-{number}", output=f"A file was read | pid={number}"))]) == Delivered()
        )
        now[0] += 1
    assert sink.send([RoutedAlert(alert(id="other", output="Another was read | pid=1"))]) == Delivered()
    now[0] += 3600
    assert sink.send([RoutedAlert(alert(id="late", output="A file was read | pid=9"))]) == Delivered()
    assert [each.get("thread_ts") for each in slack.posted] == [None, *["1700000000.000001"] * 3, None, None]
    for _ in range(3):
        now[0] += 2
        sink.idle()
    assert slack.edited[-1]["text"].endswith("| 3 more")


def test_a_first_message_that_was_deleted_is_reported_again(slack: SlackServer) -> None:
    """And an alert that was posted by a process that died then is not posted twice."""
    now = [100.0]
    sink = sink_over(slack, now)
    sink.send([RoutedAlert(alert(id="1"))])
    now[0] += 5
    assert sink.send([RoutedAlert(alert(id="1"))]) == Delivered()
    slack.faults = ["gone"]
    assert sink.send([RoutedAlert(alert(id="2"))]) == RateLimited(1.0)
    now[0] += 1
    assert sink.send([RoutedAlert(alert(id="2"))]) == Delivered()
    assert [each.get("thread_ts") for each in slack.posted] == [None, None]


def test_an_alert_of_two_channels_is_posted_to_each_once(slack: SlackServer, tmp_path: Path) -> None:
    """While one fails, nothing is posted to the other again, by this process or the next; in a flood as well."""
    now = [100.0]
    sink = sink_over(slack, now, tmp_path / "slack.db")

    def both(number: int) -> RoutedAlert:
        made = alert(id=f"id-{number}", rule=f"Rule {number}")
        return RoutedAlert(made, "#a", more=(RoutedAlert(made, "#b", "in other words"),))

    slack.fail_channel = "#b"
    assert isinstance(sink.send([both(1)]), RetryLater)
    sink.close()
    now[0] += 1
    sink = sink_over(slack, now, tmp_path / "slack.db")
    assert isinstance(sink.send([both(1)]), RetryLater)
    slack.fail_channel = None
    now[0] += 1
    assert sink.send([both(1)]) == Delivered()
    assert [each["channel"] for each in slack.posted] == ["#a", "#b"]
    now[0] += 1
    slack.fail_channel = "#b"
    flood = [both(number) for number in range(2, 32)]
    assert isinstance(sink.send(flood), RetryLater)
    slack.fail_channel = None
    now[0] += 1
    assert sink.send(flood) == Delivered(30)
    assert [each["channel"] for each in slack.posted] == ["#a", "#b", "#a", "#b"]


def test_a_flood_over_two_channels_is_counted_whole_at_one_message_a_second(
    slack: SlackServer, client: SlackClient, tmp_path: Path
) -> None:
    """Three thousand alerts and a summary of four hundred: digests, whose counts add up, and none too soon."""
    clock = Clock()
    slack.clock = clock
    two = isinstance(client, WebApi)
    made = worker(
        tmp_path / "slack.db",
        SlackSink(client, clock=clock),
        clock,
        lambda each: RoutedAlert(each, "#b" if two and each.id[-1] in "147" else None),
    )
    box = made.queue
    assert isinstance(box, Outbox)
    slack.faults = ["429", "500", "close"]
    for number in range(2999):
        box.put(alert(id=f"id-{number:04d}", rule=f"Rule {number % 30}"))
    box.put(alert(id="sum", repeats=Repeats("unknown", 400, TIME, TIME, 10**9)))
    while box.backlog():
        made.turn()
    counted = sum(
        int(number)
        for each in slack.posted
        for block in each["attachments"][0]["blocks"]
        if block["type"] == "section"
        for number in re.findall(r"^(?::warning:|and) \*(\d+)\*", block["text"]["text"], re.MULTILINE)
    )
    assert counted == 2999 + 400
    assert len(slack.posted) <= 2 * 7
    for channel in {channel for channel, _ in slack.requests}:
        times = [at for requests, at in slack.requests if requests == channel]
        assert all(later - sooner >= 1.0 for sooner, later in pairwise(times))
    assert box.dead_letters() == []


def test_a_flood_becomes_one_digest_a_channel(slack: SlackServer) -> None:
    """A channel that fails in the middle is the only one that is tried again."""
    alerts = [RoutedAlert(alert(id=f"id-{number}"), channel="#a" if number % 3 else "#b") for number in range(30)]
    slack.faults = []
    sink = SlackSink(web(slack), clock=lambda: 100.0)
    slack.faults = ["not_ok"]
    assert isinstance(sink.send(alerts), RetryLater)
    sink = SlackSink(web(slack), clock=iter(range(100, 10_000, 5)).__next__)
    assert sink.send(alerts) == Delivered(30)
    assert [(each["channel"], each["text"].split(" alerts")[0]) for each in slack.posted] == [
        ("#b", ":warning: 10"),
        ("#a", ":warning: 20"),
    ]


def test_through_all_faults_every_alert_arrives_once(slack: SlackServer, client: SlackClient, tmp_path: Path) -> None:
    """From the outbox on disk, through a real client, in order."""
    slack.faults = ["429", "500", "close", "garbage", "revoked", "not_ok"]
    clock = Clock()
    made = worker(tmp_path / "slack.db", SlackSink(client, clock=clock), clock)
    box = made.queue
    assert isinstance(box, Outbox)
    for number in range(6):
        box.put(alert(id=f"id-{number}", rule=f"Rule {number}"))
    while box.backlog():
        made.turn()
    assert [each["text"].split(" | ")[1] for each in slack.posted] == [f"Rule {number}" for number in range(6)]
    assert box.dead_letters() == []
    assert made.stats.retried == 6
