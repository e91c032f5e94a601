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


def test_templates_and_annotations_have_what_is_known_of_the_program(tmp_path: Path) -> None:
    """Escaped like all others; an alert of which nothing is known has an empty text, and no annotation."""
    path = tmp_path / "t.j2"
    path.write_text('{"known": "{{ remarks }}"}')
    made = alert(event={"proc.exe.origin": "dropped", "proc.exe.written_by": '"x'})
    body = TemplateFormat(path, "application/json").body([RoutedAlert(made)], 0).data
    assert json.loads(body) == {"known": 'program dropped by "x'}
    assert annotations(made)["remarks"] == 'program dropped by "x'
    assert "remarks" not in annotations(alert())
