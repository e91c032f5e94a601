"""Falco's JSON with `id`, for all that parses Falco's output, Elastic's integration included."""

import json
from typing import Any

from notifier.formats.text import LineStyle, json_line
from schemas.alert import Alert

_STYLE = LineStyle(json_output=True)


def document(alert: Alert) -> dict[str, Any]:
    """Return the document."""
    made = json.loads(json_line(alert, _STYLE))
    assert isinstance(made, dict)  # noqa: S101  json_line writes objects
    return made
