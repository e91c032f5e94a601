import http.client
import os
import re
import signal
import socket
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from bus.connection import Connection
from lanner.errors import BadInput
from lanner.operations.intake import AuditIntakeView
from lanner.settings import Settings
from lanner.settings.faults import BadSettings
from lanner.settings.sections.services import AuditTopicSettings, KubernetesAuditSettings
from lanner.wiring.stages.json_intake import AuditIntake, topic_connection
from tests.notes import into

NOWHERE = Connection(bootstrap_servers="127.0.0.1:9")


def _intake(notes: list[str], **section: object) -> AuditIntake:
    settings = replace(Settings(), kubernetes_audit=KubernetesAuditSettings(**section))  # type: ignore[arg-type]
    return AuditIntake(settings, NOWHERE, into(notes))


def test_a_webhook_without_a_token_is_reported(tmp_path: Path) -> None:
    """On loopback, the users of this host can send; requests are counted by their status."""
    notes: list[str] = []
    intake = _intake(notes, listen="127.0.0.1:0", file=str(tmp_path / "audit.log"))
    view = AuditIntakeView(intake, 60)
    intake.start({})
    try:
        assert intake.origins == [str(tmp_path / "audit.log"), f"http://127.0.0.1:{intake.webhook.port}/"]  # type: ignore[union-attr]
        assert notes == ["warning: no token and no client certificates: any user of this host can send audit events."]
        client = http.client.HTTPConnection("127.0.0.1", intake.webhook.port, timeout=10)  # type: ignore[union-attr]
        client.request("POST", "/", b"{")
        assert client.getresponse().status == 400
    finally:
        intake.stop()

    assert view.readings()["lanner_audit_requests_total"] == {("200",): 0, ("429",): 0, ("400",): 1}
    assert view.readings()["lanner_connections_closed_total"]["audit-webhook", "refused"] == 0
    assert view.readings()["lanner_json_events_total"] == {("accepted",): 0, ("refused",): 0}
    assert [check.is_good for check in (*view.health().alive(), *view.health().ready())] == [True, True]


def test_a_token_can_come_from_the_environment() -> None:
    """As in containers."""
    notes: list[str] = []
    intake = _intake(notes, listen="127.0.0.1:0")
    intake.start({"LANNER_KUBERNETES_AUDIT_TOKEN": "s3cret"})
    intake.stop()

    assert not notes


def test_an_address_in_use_is_an_error_at_the_start() -> None:
    """It names the setting."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        listen = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(BadInput, match=re.escape(f"kubernetes_audit.listen: {listen}: ")):
            _intake([], listen=listen).start({})


def test_a_topic_is_read_from_its_own_broker_or_from_the_fleets(tmp_path: Path) -> None:
    """Each with its own user."""
    (tmp_path / "password").write_text("s3cret\n")
    other = AuditTopicSettings(
        "hub", "g", "hub:9093", username="$ConnectionString", password_file=str(tmp_path / "password")
    )
    made = [
        topic_connection(replace(Settings(), kubernetes_audit=KubernetesAuditSettings(topic=each)), {})
        for each in (AuditTopicSettings("hub"), other)
    ]

    assert [(each.bootstrap_servers, each.username, each.password) for each in made] == [
        ("127.0.0.1:9092", "", ""),
        ("hub:9093", "$ConnectionString", "s3cret"),
    ]
    with pytest.raises(BadSettings, match="username and"):
        topic_connection(
            replace(Settings(), kubernetes_audit=KubernetesAuditSettings(topic=replace(other, username=None))), {}
        )


def test_it_stops_on_a_signal(tmp_path: Path) -> None:
    """The file that it follows is closed; nothing was stored without a broker."""
    (tmp_path / "audit.log").write_text("")
    intake = _intake([], file=str(tmp_path / "audit.log"), state_dir=str(tmp_path / "state"))
    turns: list[float] = []
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    try:
        intake.run(lambda: turns.append(time.monotonic()))
    finally:
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGINT, before[1])

    assert turns
    assert not intake.outcomes
