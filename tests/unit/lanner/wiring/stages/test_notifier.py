import time
from pathlib import Path

from lanner.operations.freshness import SINK_FAILING
from lanner.settings import load_settings
from lanner.wiring.stages.notifier import Deliveries
from tests.unit.alerts import alert


def test_the_other_sinks_report_a_sink_that_fails(tmp_path: Path) -> None:
    """/dev/full is a disk without room."""
    good = tmp_path / "alerts.log"
    flags = [f"notifier.state_dir={tmp_path}", "lag.seconds=1", "json_output=true", "file_output.filename=/dev/full"]
    settings = load_settings(None, {}, [*flags, f"sinks.good={{type: file, enabled: true, filename: {good}}}"])
    deliveries = Deliveries(settings, ["file", "good"], None)
    for outbox, _ in deliveries.outboxes:
        outbox.put(alert(id="one"))
    deliveries.start()
    deadline = time.monotonic() + 20
    while SINK_FAILING not in (good.read_text() if good.exists() else ""):
        assert time.monotonic() < deadline, deliveries.current
        deliveries.look(settings)
        time.sleep(0.05)
    deliveries.stop()
    assert "sink file: /dev/full: No space left on device; 1 alert waits, the oldest for" in good.read_text()
