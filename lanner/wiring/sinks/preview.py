"""What a sink would say of an alert, without sending it."""

import json
import time
from collections.abc import Callable

from lanner.errors import BadInput
from lanner.settings import Settings
from lanner.settings.named import SIEM, in_its_words, kind_of, seen_by
from lanner.wiring.sinks.registry import addresses_of, document_of, line_style, syslog_style
from lanner.wiring.sinks.webhook import form_of
from notifier.delivery.outcome import RoutedAlert
from notifier.delivery.stats import SinkStats
from notifier.formats.rfc5424 import formatter
from notifier.formats.text import line_of
from schemas.alert import Alert


def preview(settings: Settings, sink: str, alert: Alert, note: Callable[[str], None]) -> str:
    """Give the message, body or line that a sink makes of an alert, by the templates of its routes.

    note is told where routes, mutes or a minimum priority keep the alert from the sink. Raises BadInput.
    """
    parcel = addresses_of(settings, note)(sink, SinkStats())(alert)
    if parcel is None:
        note(f"{sink}: a route, a mute or its minimum priority keeps this alert from it; this is what it would say.")
        parcel = RoutedAlert(alert)
    if sink in SIEM:
        return json.dumps(document_of(sink)(alert), indent=2, default=str)
    try:
        return _told(seen_by(settings, sink), kind_of(settings, sink), parcel)
    except BadInput as error:
        raise BadInput(*(in_its_words(settings, sink, each) for each in error.messages)) from None


def _told(settings: Settings, kind: str, parcel: RoutedAlert) -> str:
    if kind == "webhook":
        return _body(settings, parcel)
    if kind == "slack":
        from notifier.slack.blocks import message  # noqa: PLC0415  only what is asked for

        return json.dumps(message(parcel), indent=2)
    if kind == "apprise":
        try:
            from notifier.remote.apprise import wording  # noqa: PLC0415  needs an extra of its own
        except ModuleNotFoundError:
            raise BadInput("apprise_output needs apprise: pip install 'lanner[apprise]'.") from None
        return "\n".join(wording(parcel.told))
    if kind == "syslog" and settings.syslog_output.transport != "local":
        return formatter(syslog_style(settings))(parcel.told).decode("utf-8", "replace")
    form = settings.file_output.format if kind == "file" else None
    return line_of(line_style(settings, form))(parcel.told)


def _body(settings: Settings, parcel: RoutedAlert) -> str:
    from notifier.webhook.form import BodyError  # noqa: PLC0415  needs the notifier's extra

    try:
        return form_of(settings).body([parcel], time.time_ns()).data.decode("utf-8", "replace")
    except BodyError as unfit:
        raise BadInput(f"{unfit}.") from None
