import pytest

from notifier.delivery.outcome import Parcel
from notifier.delivery.routing import Match, Mute, Route, RouteMatching, route
from schemas.alert import Alert
from tests.unit.alerts import alert

PROD = alert(rule="Read sensitive file", priority="Error", event={"k8s.ns.name": "prod"}, hostname="web-3")


def judged(
    made: Alert, sink: str, *routes: Route, mutes: tuple[Mute, ...] = (), matching: RouteMatching = "all"
) -> object:
    """Ask at second 100, for a sink that takes everything."""
    return route(made, sink, Match(), routes, mutes, matching=matching, now=100.0)


@pytest.mark.parametrize(
    ("match", "holds"),
    [
        (Match(), True),
        (Match(priority="Error"), True),
        (Match(priority="Critical"), False),
        (Match(rule="Read*"), True),
        (Match(rule="read*"), False),
        (Match(tags=("host",)), True),
        (Match(tags=("host", "x")), False),
        (Match(host="web-*", namespace="prod"), True),
        (Match(namespace="test"), False),
        (Match(condition=lambda made: made.hostname == "web-3"), True),
        (Match(condition=lambda made: made.hostname == "db-1"), False),
    ],
)
def test_all_that_a_match_names_must_hold(match: Match, holds: bool) -> None:
    """Priority is this grave or graver; star stands for any text."""
    assert match.holds(PROD) is holds


def test_without_routes_every_sink_takes_all() -> None:
    """Who has one sink needs no routes."""
    assert judged(PROD, "slack") == Parcel(PROD)


def test_the_first_route_that_fits_decides_if_told_so() -> None:
    """Otherwise each route that fits delivers."""
    routes = (Route(Match(rule="Read*"), "slack", "#security"), Route(Match(), "syslog"))
    assert judged(PROD, "slack", *routes, matching="first") == Parcel(PROD, "#security")
    assert judged(PROD, "syslog", *routes, matching="first") == "elsewhere"
    assert judged(PROD, "syslog", *routes) == Parcel(PROD)
    assert judged(alert(), "slack", *routes) == "elsewhere"


def test_a_mute_comes_before_all_routes_until_its_time() -> None:
    """And is told apart from a route, since it is counted apart."""
    route_there = Route(Match(), "slack")
    assert judged(PROD, "slack", route_there, mutes=(Mute(Match(rule="Read*"), None),)) == "muted"
    assert judged(PROD, "slack", route_there, mutes=(Mute(Match(), 101.0),)) == "muted"
    assert judged(PROD, "slack", route_there, mutes=(Mute(Match(), 99.0),)) == Parcel(PROD)


def test_a_routes_template_makes_the_text() -> None:
    """Of the parcel, beside the alert that it was made of."""
    parcel = judged(PROD, "slack", Route(Match(), "slack", template=lambda made: f"on {made.hostname}"))
    assert parcel == Parcel(PROD, None, "on web-3")


def test_all_routes_that_fit_are_taken_each_channel_once() -> None:
    """The first of a channel says with which text."""
    routes = (
        Route(Match(), "slack", "#a", lambda _: "one"),
        Route(Match(rule="other"), "slack", "#b"),
        Route(Match(), "slack", "#c"),
        Route(Match(), "slack", "#a", lambda _: "two"),
    )
    assert judged(PROD, "slack", *routes) == Parcel(PROD, "#a", "one", more=(Parcel(PROD, "#c"),))
    assert judged(PROD, "slack", *routes, matching="first") == Parcel(PROD, "#a", "one")
