from typing import Any

import pytest

from lanner.errors import BadInput
from lanner.settings import Settings, load_settings
from lanner.wiring.routing.templates import compile_template, compile_templates, or_own_text
from notifier.sink import SinkStats
from tests.notes import into
from tests.unit.alerts import alert


def settings(template: str) -> Settings:
    """Return settings with one route."""
    return load_settings(None, {}, [f"routes=[{{sink: slack, template: {template!r}}}]"])


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("%fd.name by %proc.aname[2], pod %k8s.pod.name", "/etc/shadow by sshd, pod <NA>"),
        ("on %evt.hostname (%evt.source)", "on web-3 (syscall)"),
        ("%evt.time.iso8601", "2026-11-24T14:31:30.479846943+0000"),
        ("%toupper(proc.name) %len(fd.name) [%10proc.name]", "CAT 11 [cat       ]"),
        ("%proc.name, %ka.user.name and %ka.target.name.", "cat, admin and <NA>."),
        ("plain", "plain"),
        ("", ""),
    ],
)
def test_a_template_is_an_output_format_of_falcos(template: str, text: str) -> None:
    """It may have widths and transformers; a field of a Falco plugin is looked up by its name."""
    fields: dict[str, Any] = {"fd.name": "/etc/shadow", "proc.name": None, "ka.user.name": "admin"}
    made = alert(output_fields=fields, event={"proc.aname[2]": "sshd", "proc.name": "cat", "fd.name": "other"})
    assert compile_template(template)(made) == text


def test_an_invalid_template_is_an_error_at_start() -> None:
    """The error names the setting and the closest field."""
    for template, said in (
        (
            "by %proc.nmae",
            r"^routes\[0\].template: invalid formatting token proc.nmae.\n  = did you mean 'proc.name'\?$",
        ),
        ("100%", r"^routes\[0\].template: .* cannot end with a %"),
    ):
        with pytest.raises(BadInput, match=said):
            compile_templates(settings(template))


def test_a_template_that_fails_loses_no_alert() -> None:
    """The rule's own output is used; that is counted, and reported once."""
    stats, reported = SinkStats(), list[str]()
    fill = or_own_text(lambda made: made.event["no.such"], "routes[0]", stats, into(reported))
    assert [fill(alert()) for _ in range(2)] == [alert().output] * 2
    assert (stats.condition_faults, len(reported)) == (2, 1)
