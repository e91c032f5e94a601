import json
from pathlib import Path

import pytest

from lanner.errors import BadInput
from lanner.settings import Settings
from lanner.wiring.routing.previews import from_json, with_rule_texts

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
