import pytest

from notifier.delivery.outcome import RoutedAlert
from notifier.delivery.routing import AlertMatcher, Mute, Route, RouteMatching, route
from schemas.alert import Alert
from tests.unit.alerts import alert

PROD = alert(rule="Read sensitive file", priority="Error", event={"k8s.ns.name": "prod"}, hostname="web-3")


def judged(
    made: Alert, sink: str, *routes: Route, mutes: tuple[Mute, ...] = (), matching: RouteMatching = "all"
) -> object:
    """Ask at second 100, for a sink that takes everything."""
    return route(made, sink, AlertMatcher(), routes, mutes, matching=matching, now=100.0)


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
def test_all_that_a_match_names_must_hold(match: AlertMatcher, holds: bool) -> None:
    """Priority is this grave or graver; star stands for any text."""
    assert match.holds(PROD) is holds


def test_without_routes_every_sink_takes_all() -> None:
    """Who has one sink needs no routes."""
    assert judged(PROD, "slack") == RoutedAlert(PROD)


def test_the_first_route_that_fits_decides_if_told_so() -> None:
    """Otherwise each route that fits delivers."""
    routes = (Route(AlertMatcher(rule="Read*"), "slack", "#security"), Route(AlertMatcher(), "syslog"))
    assert judged(PROD, "slack", *routes, matching="first") == RoutedAlert(PROD, "#security")
    assert judged(PROD, "syslog", *routes, matching="first") == "elsewhere"
    assert judged(PROD, "syslog", *routes) == RoutedAlert(PROD)
    assert judged(alert(), "slack", *routes) == "elsewhere"


def test_a_mute_comes_before_all_routes_until_its_time() -> None:
    """And is told apart from a route, since it is counted apart."""
    route_there = Route(AlertMatcher(), "slack")
    assert judged(PROD, "slack", route_there, mutes=(Mute(AlertMatcher(rule="Read*"), None),)) == "muted"
    assert judged(PROD, "slack", route_there, mutes=(Mute(AlertMatcher(), 101.0),)) == "muted"
    assert judged(PROD, "slack", route_there, mutes=(Mute(AlertMatcher(), 99.0),)) == RoutedAlert(PROD)


def test_a_routes_template_makes_the_text() -> None:
    """Of the parcel, beside the alert that it was made of."""
    parcel = judged(PROD, "slack", Route(AlertMatcher(), "slack", template=lambda made: f"on {made.hostname}"))
    assert parcel == RoutedAlert(PROD, None, "on web-3")


def test_all_routes_that_fit_are_taken_each_channel_once() -> None:
    """The first of a channel says with which text."""
    routes = (
        Route(AlertMatcher(), "slack", "#a", lambda _: "one"),
        Route(AlertMatcher(rule="other"), "slack", "#b"),
        Route(AlertMatcher(), "slack", "#c"),
        Route(AlertMatcher(), "slack", "#a", lambda _: "two"),
    )
    assert judged(PROD, "slack", *routes) == RoutedAlert(PROD, "#a", "one", more=(RoutedAlert(PROD, "#c"),))
    assert judged(PROD, "slack", *routes, matching="first") == RoutedAlert(PROD, "#a", "one")
