"""Alerts for testing a sink: a marked one, or one from a file of Falco's JSON."""

import os
import time
from dataclasses import replace

from foundation.text import OnNote
from lanner.errors import BadInput
from lanner.ruleset.load import load_or_fail
from lanner.ruletest.given import choose_given, is_json
from lanner.settings import Settings
from lanner.wiring.routing.routers import routing_table
from lanner.wiring.rules import find_rules
from lanner.wiring.sinks.registry import preview_routed
from notifier.formats.falco_json import falco_alert
from notifier.sink import RoutedAlert, SinkStats
from processor.rules.rule import alert_text
from schemas.alert import Alert, alert_id


def preview(settings: Settings, sink: str, alert: Alert, report: OnNote) -> str:
    """Return the message, body or line that a sink makes of an alert, by the templates of its routes.

    Reports if a route, a mute or the minimum priority excludes the alert. Raises BadInput if settings are wrong.
    """
    routed = routing_table(settings, report).router(sink, SinkStats())(alert)
    if routed is None:
        report(f"{sink}: a route, a mute or its minimum priority excludes this alert; it would be sent like this.")
        routed = RoutedAlert(alert)
    return preview_routed(settings, sink, routed)


RULE = "Lanner test alert"


def marked_alert() -> Alert:
    """Return an alert that is clearly marked as a test; each has a unique id."""
    now = time.time_ns()
    host = os.uname().nodename
    return Alert(
        id=alert_id(now, RULE, host, os.getpid()),
        time=now,
        rule=RULE,
        priority="Notice",
        output="This is a test of Lanner's delivery; nothing happened | sent_by=lanner notifier test",
        output_fields={},
        tags=("lanner_test",),
        source="internal",
        hostname=host,
    )


def with_rule_texts(alert: Alert, settings: Settings) -> Alert:
    """Return an alert with the description and response of its rule, which JSON doesn't have.

    An alert of an unknown rule stays as it is, and so do all if the rules can't be loaded.
    """
    try:
        rules = load_or_fail(find_rules(settings), warnings=False).rules
    except BadInput:
        return alert
    rule = next((each for each in rules if each.name == alert.rule), None)
    if rule is None or alert.description or alert.response:
        return alert
    return replace(alert, description=alert_text(rule.description), response=alert_text(rule.response))


def from_json(source: str, number: int | None = None) -> Alert:
    """Read one alert in the JSON of Falco and Lanner, from a file or the JSON itself. Raises BadInput.

    number is its position in the file, from 1; None if the file has only one.
    """
    try:
        return falco_alert(choose_given(source, number))
    except ValueError as error:
        raise BadInput(f"{'the JSON' if is_json(source) else source}: {error}.") from None
