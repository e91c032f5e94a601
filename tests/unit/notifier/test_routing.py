import pytest

from notifier.routing import AlertMatcher, Mute, Route, RouteMatching, SinkRouter
from notifier.sink import RoutedAlert, SinkStats
from schemas.alert import Alert
from tests.unit.alerts import alert

PROD = alert(rule="Read sensitive file", priority="Error", event={"k8s.ns.name": "prod"}, hostname="web-3")


def routed_to(
    made: Alert, sink: str, *routes: Route, mutes: tuple[Mute, ...] = (), matching: RouteMatching = "all"
) -> object:
    """Route at second 100, for a sink without a minimum priority."""
    return SinkRouter(sink, AlertMatcher(), routes, mutes, matching, SinkStats()).verdict(made, 100.0)


@pytest.mark.parametrize(
    ("match", "holds"),
    [
        (AlertMatcher(), True),
        (AlertMatcher(priority="Error"), True),
        (AlertMatcher(priority="Critical"), False),
        (AlertMatcher(rule="Read*"), True),
        (AlertMatcher(rule="read*"), False),
        (AlertMatcher(tags=("host",)), True),
        (AlertMatcher(tags=("host", "x")), False),
        (AlertMatcher(host="web-*", namespace="prod"), True),
        (AlertMatcher(namespace="test"), False),
        (AlertMatcher(condition=lambda made: made.hostname == "web-3"), True),
        (AlertMatcher(condition=lambda made: made.hostname == "db-1"), False),
    ],
)
def test_all_conditions_of_a_match_must_hold(match: AlertMatcher, holds: bool) -> None:
    """A priority means this priority or above; a star matches any text."""
    assert match.matches(PROD) is holds


def test_without_routes_every_sink_gets_all_alerts() -> None:
    """A single sink needs no routes."""
    assert routed_to(PROD, "slack") == RoutedAlert(PROD)


def test_only_the_first_matching_route_counts_if_configured() -> None:
    """Otherwise each matching route delivers."""
    routes = (Route(AlertMatcher(rule="Read*"), "slack", "#security"), Route(AlertMatcher(), "syslog"))
    assert routed_to(PROD, "slack", *routes, matching="first") == RoutedAlert(PROD, "#security")
    assert routed_to(PROD, "syslog", *routes, matching="first") == "not_routed"
    assert routed_to(PROD, "syslog", *routes) == RoutedAlert(PROD)
    assert routed_to(alert(), "slack", *routes) == "not_routed"


def test_a_mute_comes_before_all_routes_until_its_time() -> None:
    """It is counted separately from routes."""
    route_there = Route(AlertMatcher(), "slack")
    assert routed_to(PROD, "slack", route_there, mutes=(Mute(AlertMatcher(rule="Read*"), None),)) == "muted"
    assert routed_to(PROD, "slack", route_there, mutes=(Mute(AlertMatcher(), 101.0),)) == "muted"
    assert routed_to(PROD, "slack", route_there, mutes=(Mute(AlertMatcher(), 99.0),)) == RoutedAlert(PROD)


def test_the_template_of_a_route_sets_the_text() -> None:
    """The routed alert holds the text beside the original alert."""
    routed = routed_to(PROD, "slack", Route(AlertMatcher(), "slack", template=lambda made: f"on {made.hostname}"))
    assert routed == RoutedAlert(PROD, None, "on web-3")


def test_each_channel_of_the_matching_routes_is_used_once() -> None:
    """The first route of a channel sets the text."""
    routes = (
        Route(AlertMatcher(), "slack", "#a", lambda _: "one"),
        Route(AlertMatcher(rule="other"), "slack", "#b"),
        Route(AlertMatcher(), "slack", "#c"),
        Route(AlertMatcher(), "slack", "#a", lambda _: "two"),
    )
    assert routed_to(PROD, "slack", *routes) == RoutedAlert(PROD, "#a", "one", more=(RoutedAlert(PROD, "#c"),))
    assert routed_to(PROD, "slack", *routes, matching="first") == RoutedAlert(PROD, "#a", "one")
