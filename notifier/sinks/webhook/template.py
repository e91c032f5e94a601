"""Bodies from a Jinja2 template: sandboxed, bounded in size, with errors that name file and line."""

import json
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import FunctionLoader, StrictUndefined, TemplateSyntaxError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup

from foundation.errors import LannerError
from foundation.quantities import iso8601_zulu
from notifier.formats import falco
from notifier.formats.phrases import remarks
from notifier.sink import RoutedAlert
from notifier.sinks.webhook.formats import JSON, Body, BodyError, WebhookFormat
from schemas.alert import Alert, Value

MAX_BYTES = 1 << 20
"""Maximum size of a body; a template that produces more has an endless loop."""


class BadTemplate(LannerError):
    """The template is invalid; the message names file and line."""


class TemplateFormat(WebhookFormat):
    """One alert per request.

    In JSON, text is escaped so that it stays within the quotes around it in the template: a file name chosen by an
    attacker can't add a key. In HTML and XML, text is escaped for those; other content types are not escaped.
    """

    def __init__(self, path: Path, content_type: str) -> None:
        """Parse the template. Raises BadTemplate."""
        self.content_type = content_type
        self._path = str(path)
        kind = content_type.partition(";")[0].strip().lower()
        self._json = kind == JSON or kind.endswith("+json")
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise BadTemplate(f"{path}: {error.strerror}.") from None
        except UnicodeDecodeError as error:
            raise BadTemplate(f"{path}: not UTF-8 at byte {error.start}.") from None
        environment = ImmutableSandboxedEnvironment(
            undefined=StrictUndefined,
            loader=FunctionLoader(lambda name: (text, name, None) if name == self._path else None),
            autoescape=self._json or kind in ("text/html", "text/xml", "application/xml"),
            finalize=_in_json if self._json else None,
        )
        try:
            self._template = environment.get_template(self._path)
        except TemplateSyntaxError as error:
            raise BadTemplate(f"{path}:{error.lineno}: {error.message}.") from None

    def body(self, alerts: Sequence[RoutedAlert], now: int) -> Body:  # noqa: ARG002
        """Render the template. Raises BodyError."""
        pieces: list[bytes] = []
        size = 0
        try:
            for piece in self._template.generate(facts(alerts[0].rendered)):
                pieces.append(piece.encode("utf-8", "replace"))
                size += len(pieces[-1])
                if size > MAX_BYTES:
                    break
        except Exception as error:  # noqa: BLE001  a template is a program and may raise anything
            raise BodyError(f"{self._path}:{self._line(error)}: {error}") from None
        if size > MAX_BYTES:
            raise BodyError(f"{self._path}: its output exceeds {MAX_BYTES} bytes")
        made = b"".join(pieces)
        if self._json:
            try:
                json.loads(made)
            except ValueError as error:
                raise BodyError(f"{self._path}: its output is not valid JSON: {error}") from None
        return Body(made)

    def _line(self, error: BaseException) -> int:
        """Return the template's line that raised an error; Jinja adds it to the traceback."""
        frames = traceback.extract_tb(error.__traceback__)
        return next((each.lineno or 0 for each in reversed(frames) if each.filename == self._path), 0)


def facts(alert: Alert) -> Mapping[str, Any]:
    """Return the variables of a template: Falco's, and all fields of the event."""
    made = falco.document(alert)
    return made | {
        "output": alert.output,
        "time": iso8601_zulu(alert.time),
        "host_id": alert.host_id,
        "remarks": remarks(alert),
        "description": alert.description,
        "response": alert.response,
        "event": {name: _plain(value) for name, value in alert.event.items()},
        "count": alert.repeats.count if alert.repeats else None,
        "first_id": alert.repeats.first_id if alert.repeats else None,
    }


def _plain(value: Value) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _in_json(value: Any) -> Any:
    """Encode a value as JSON; text without the quotes around it, which the template has."""
    if isinstance(value, Markup | StrictUndefined):
        return value
    return Markup(json.dumps(value)[1:-1] if isinstance(value, str) else json.dumps(value))  # noqa: S704
