"""What a sink would send for an alert, without sending it."""

from lanner.settings import Settings
from lanner.wiring.routes.routers import routers_of
from lanner.wiring.sinks.registry import preview_routed
from notifier.delivery.outcome import RoutedAlert
from notifier.delivery.stats import SinkStats
from schemas.alert import Alert
from schemas.text.notes import OnNote


def preview(settings: Settings, sink: str, alert: Alert, report: OnNote) -> str:
    """Return the message, body or line that a sink makes of an alert, by the templates of its routes.

    Args:
        settings: all settings.
        sink: its name.
        alert: the alert.
        report: called if a route, a mute or the minimum priority excludes the alert.

    Raises:
        BadInput: the settings of the sink or of a route are wrong.
    """
    routed = routers_of(settings, report)(sink, SinkStats())(alert)
    if routed is None:
        report(f"{sink}: a route, a mute or its minimum priority excludes this alert; it would be sent like this.")
        routed = RoutedAlert(alert)
    return preview_routed(settings, sink, routed)
