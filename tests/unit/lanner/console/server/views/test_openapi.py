import time
from dataclasses import fields
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from lanner.console.server.app import ROUTES
from lanner.console.store.filters import Filters
from tests.unit.lanner.console.alerts import found
from tests.unit.lanner.console.fleet.rules import fleet_of_rules
from tests.unit.lanner.console.server.conftest import Serve
from tests.unit.lanner.console.server.running import HEADER, Served


@pytest.fixture
def served(serve: Serve) -> Served:
    """Return a console with two alerts."""
    alerts = [found(0, id=f"alert-{number}", time=time.time_ns() - number) for number in range(2)]
    made = serve(fleet=fleet_of_rules(), alerts=alerts)
    made.wait_for(2)
    return made


def test_every_path_of_the_api_is_described_and_no_other(served: Served) -> None:
    """With the method that it has."""
    described = served.ask("/api/openapi.json").json["paths"]
    routes = {(route.path, route.method.lower()) for route in ROUTES if route.path.startswith("/api/")}
    assert {(path, method) for path, methods in described.items() for method in methods} == routes


@pytest.mark.parametrize(
    ("path", "described", "body", "status"),
    [
        ("/api/groups?since=all&sort=count", "/api/groups", None, 200),
        ("/api/groups?since=never", "/api/groups", None, 400),
        ("/api/groups/{key}", "/api/groups/{key}", None, 200),
        ("/api/groups/none", "/api/groups/{key}", None, 404),
        ("/api/groups/{key}/alerts?limit=1", "/api/groups/{key}/alerts", None, 200),
        ("/api/alerts?q=shadow", "/api/alerts", None, 200),
        ("/api/alerts/alert-1", "/api/alerts/{id}", None, 200),
        ("/api/alerts/none", "/api/alerts/{id}", None, 404),
        ("/api/alerts/alert-1/story", "/api/alerts/{id}/story", None, 200),
        ("/api/alerts/alert-1/story?before=2h", "/api/alerts/{id}/story", None, 400),
        ("/api/alerts/alert-1/explanation", "/api/alerts/{id}/explanation", None, 200),
        ("/api/alerts/none/explanation", "/api/alerts/{id}/explanation", None, 404),
        ("/api/alerts/alert-1/exception?days=1", "/api/alerts/{id}/exception", None, 200),
        ("/api/alerts/alert-1/exception?days=31", "/api/alerts/{id}/exception", None, 400),
        ("/api/alerts/alert-1/exception?fields=proc.pid", "/api/alerts/{id}/exception", None, 400),
        ("/api/alerts/alert-1/test", "/api/alerts/{id}/test", None, 200),
        ("/api/histogram?since=7d", "/api/histogram", None, 200),
        ("/api/facets?state=all", "/api/facets", None, 200),
        ("/api/groups?format=xml", "/api/groups", None, 400),
        ("/api/names", "/api/names", None, 200),
        ("/api/me", "/api/me", None, 200),
        ("/api/search?q=proc.name+%3D+cat", "/api/search", None, 404),
        ("/api/rules?state=never&sort=cost", "/api/rules", None, 200),
        ("/api/rules?sort=best", "/api/rules", None, 400),
        ("/api/rules/rule?name=Read+sensitive+file", "/api/rules/rule", None, 200),
        ("/api/rules/rule?name=none", "/api/rules/rule", None, 404),
        ("/api/rules/attack?since=all", "/api/rules/attack", None, 200),
        ("/api/hosts?state=live", "/api/hosts", None, 200),
        ("/api/hosts?offset=-1", "/api/hosts", None, 400),
        ("/api/hosts/host?id=id-1", "/api/hosts/host", None, 200),
        ("/api/hosts/host", "/api/hosts/host", None, 404),
        ("/api/pipeline", "/api/pipeline", None, 404),
        ("/api/dead-letters", "/api/dead-letters", None, 404),
        ("/api/marks", "/api/marks", {"subject": "group:{key}", "action": "comment", "value": "seen"}, 200),
        ("/api/marks", "/api/marks", {"subject": "group:none", "action": "reopen"}, 404),
        ("/api/marks", "/api/marks", {"subject": "group:{key}", "action": "comment", "value": "x" * 70_000}, 413),
    ],
)
def test_answers_are_as_described(path: str, described: str, body: Any, status: int, served: Served) -> None:
    """Successes and failures fit their schemas."""
    description = served.ask("/api/openapi.json").json
    key = served.ask("/api/groups").json["groups"][0]["key"]
    if body is not None:
        body = body | {"subject": body["subject"].replace("{key}", key)}
    answer = served.ask(path.replace("{key}", key), body, headers=HEADER)
    assert answer.status == status
    method = "get" if body is None else "post"
    found = description["paths"][described][method]["responses"][str(status)]
    if "$ref" in found:
        found = description["components"]["responses"][found["$ref"].rpartition("/")[2]]
    schema = found["content"]["application/json"]["schema"]
    Draft202012Validator(schema | {"components": description["components"]}).validate(answer.json)


def test_only_described_parameters_are_used(served: Served) -> None:
    """A filter of the pages is a parameter of the API."""
    description = served.ask("/api/openapi.json").json
    parameters = description["paths"]["/api/groups"]["get"]["parameters"]
    names = {each["$ref"].rpartition("/")[2] for each in parameters if "$ref" in each}
    assert {each.name for each in fields(Filters)} <= names
