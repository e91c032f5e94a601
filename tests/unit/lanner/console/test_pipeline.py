from pathlib import Path

import pytest

from lanner.console.pipeline import outbox_queues
from lanner.errors import BadInput
from lanner.operations.freshness import PipelineQueue
from notifier.outbox import Outbox
from tests.unit.alerts import alert


def test_each_outbox_is_a_queue(tmp_path: Path) -> None:
    """With what waits and since when; how many deliver isn't known."""
    slack = Outbox(tmp_path / "slack.outbox.db", capacity=10, clock=lambda: 1234.0)
    slack.put(alert(id="one"))
    slack.put(alert(id="two"))
    Outbox(tmp_path / "webhook.outbox.db", capacity=10).close()
    assert outbox_queues(tmp_path) == [
        PipelineQueue("sink", "slack", str(tmp_path / "slack.outbox.db"), 2, 1234.0),
        PipelineQueue("sink", "webhook", str(tmp_path / "webhook.outbox.db"), 0, None),
    ]


def test_a_host_without_outboxes_has_no_queue(tmp_path: Path) -> None:
    """That is no error."""
    assert outbox_queues(tmp_path) == outbox_queues(tmp_path / "none") == []


def test_a_damaged_outbox_is_reported(tmp_path: Path) -> None:
    """With its name."""
    (tmp_path / "slack.outbox.db").write_bytes(b"nonsense" * 1000)
    with pytest.raises(BadInput, match=r"slack\.outbox\.db"):
        outbox_queues(tmp_path)
