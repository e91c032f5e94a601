import json
from pathlib import Path

from notifier.sink import RoutedAlert
from notifier.sinks.webhook.formats import annotations
from notifier.sinks.webhook.template import TemplateFormat
from tests.unit.alerts import alert


def test_a_template_has_the_texts_of_the_rule(tmp_path: Path) -> None:
    """They are escaped like all others; a rule without a response has an empty one."""
    path = tmp_path / "body.j2"
    path.write_text('{"about": "{{ description }}", "do": "{{ response }}"}')

    body = TemplateFormat(path, "application/json").body([RoutedAlert(alert(description='say "x"'))], 0)

    assert json.loads(body.data) == {"about": 'say "x"', "do": ""}


def test_annotations_for_alertmanager_have_the_texts_of_the_rule() -> None:
    """Only those that are set."""
    made = annotations(alert(description="d", response="r"))

    assert (made["description"], made["response"]) == ("d", "r")
    assert "response" not in annotations(alert())
