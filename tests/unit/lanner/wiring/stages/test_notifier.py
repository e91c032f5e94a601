import json
import time
from pathlib import Path

import pytest

from lanner.errors import BadInput
from lanner.operations.freshness import SINK_FAILING
from lanner.settings import Settings, load_settings
from lanner.wiring.stages.notifier import Deliveries, from_json, with_rule_texts
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


ALERT = {"rule": "R", "priority": "Notice", "output": "o", "time": "2026-11-27T00:00:00Z", "output_fields": {}}


def test_an_alert_is_read_from_a_file_or_from_the_text_itself(tmp_path: Path) -> None:
    """As `rules explain` does; of several, one has to be chosen."""
    path = tmp_path / "alerts.json"
    path.write_text("".join(json.dumps(ALERT | {"rule": rule}) + "\n" for rule in "AB"))

    assert from_json(json.dumps(ALERT)).rule == "R"
    assert from_json(str(path), 2).rule == "B"
    with pytest.raises(BadInput, match=r"has 2 events; choose one by --num \(1 to 2\)"):
        from_json(str(path))
    with pytest.raises(BadInput, match=r"has no event 3"):
        from_json(str(path), 3)
    with pytest.raises(BadInput, match=r"the JSON: "):
        from_json('{"a": 1}')
    path.write_text(json.dumps(ALERT) + "\n{\n")
    with pytest.raises(BadInput, match=r"alerts.json:2: not valid JSON"):
        from_json(str(path), 1)


def test_a_preview_has_the_texts_of_the_alerts_rule() -> None:
    """JSON doesn't have them, but a posted message does; an alert of another rule stays as it is."""
    known, other = (
        with_rule_texts(from_json(json.dumps(ALERT | {"rule": name})), Settings()) for name in ("Clear log files", "R")
    )

    assert known.description.startswith("A log of logins")
    assert known.response
    assert (other.description, other.response) == ("", "")
