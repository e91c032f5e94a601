"""What processors take of the audit events of other partitions."""

import pytest

from processor.audit.sessions import Sessions
from processor.fleet.audit.follower import take
from processor.fleet.message_stage import MessageStage
from schemas.codec import encode_batch
from tests.unit.processor.audit import shells
from tests.unit.processor.audit.requests import exec_request, line, request
from tests.unit.processor.correlation.rules import rule, ruleset_of

NOW = shells.START // 1_000_000 + 2000


def test_alerts_about_a_requested_command_name_the_person() -> None:
    """The processor that has the host's partition does it, whoever evaluates the audit event."""
    stage = MessageStage(ruleset_of(rule("evt.type = execve and proc.name = sh")), clock=lambda: 0.0)
    take(stage.sessions, line(shells.requested(0).document), NOW)

    (alert,) = stage.take(0, encode_batch(shells.started(1)), NOW).alerts

    assert alert.output_fields["session.user"] == "eve"


@pytest.mark.parametrize("value", [b"", b"/exec?", b'{"a": "/exec?"}', line(request()), line([exec_request("sh")])])
def test_what_is_no_request_is_ignored(value: bytes) -> None:
    """It is a dead letter elsewhere, if it is wrong."""
    sessions = Sessions()

    take(sessions, value, NOW)
    sessions.see_batch(shells.started(1))
