import json
from typing import Any

import pytest

from processor.fields.json.cloud_logging import audit_event, is_log_entry
from processor.fields.json.documents import Document, read_events
from processor.fields.json.parsing import BadJsonEvent
from tests.unit.processor.detection.log_entries import exec_entry, log_entry
from tests.unit.processor.detection.requests import TIME, request

CREATE = "io.k8s.core.v1.pods.create"
POD = "core/v1/namespaces/prod/pods/web"


def _event(entry: dict[str, Any]) -> Document:
    (event,) = read_events(json.dumps(entry).encode())
    return event


def test_a_request_for_a_command_has_who_where_and_what() -> None:
    """The path is the API server's; GKE logs neither its query nor the groups of the user."""
    event = _event(exec_entry())

    assert event.time == TIME
    assert {name: event[name] for name in event.source.row if event[name] not in (None, ())} == {
        "evt.rawtime": TIME,
        "ka.auditid": "0c7d4e0b-7e3b-4f3c-8a2b-5d0f4c1f2a01",
        "ka.stage": "ResponseStarted",
        "ka.verb": "create",
        "ka.uri": "/api/v1/namespaces/prod/pods/web/exec",
        "ka.user.name": "alice@example.com",
        "ka.sourceips": ("192.0.2.7",),
        "ka.useragent": "kubectl/v1.34.4",
        "ka.target.resource": "pods",
        "ka.target.subresource": "exec",
        "ka.target.namespace": "prod",
        "ka.target.name": "web",
        "ka.response.code": "101",
        "ka.auth.decision": "allow",
        "ka.auth.reason": "access granted by IAM",
    }
    assert event["ka.cluster.name"] == "shop"
    assert event["jevt.value[/annotations/location]"] == "europe-west3"


def test_objects_are_those_of_the_request_and_of_the_answer() -> None:
    """Fields read them as in any audit event."""
    pod = {"kind": "Pod", "spec": {"containers": [{"image": "nginx", "securityContext": {"privileged": True}}]}}
    event = _event(log_entry(CREATE, POD, request=pod, response={"metadata": {"name": "web"}}))

    assert event["ka.req.pod.containers.privileged"] == ("true",)
    assert event["ka.target.pod.name"] == "web"
    assert (event["ka.response.code"], event["ka.stage"]) == ("201", "ResponseComplete")
    assert event["jevt.value[/level]"] == "RequestResponse"


@pytest.mark.parametrize(
    ("method", "name", "target", "uri"),
    [
        (
            "io.k8s.authorization.rbac.v1.clusterrolebindings.create",
            "rbac.authorization.k8s.io/v1/clusterrolebindings/admins",
            {"resource": "clusterrolebindings", "name": "admins", "apiGroup": "rbac.authorization.k8s.io"},
            "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/admins",
        ),
        (
            "io.k8s.core.v1.pods.list",
            "core/v1/namespaces/prod/pods",
            {"resource": "pods", "namespace": "prod"},
            "/api/v1/namespaces/prod/pods",
        ),
        ("io.k8s.core.v1.secrets.list", "core/v1/secrets", {"resource": "secrets"}, "/api/v1/secrets"),
        (
            "io.k8s.core.v1.namespaces.delete",
            "core/v1/namespaces/prod",
            {"resource": "namespaces", "namespace": "prod", "name": "prod"},
            "/api/v1/namespaces/prod",
        ),
        (
            "io.k8s.core.v1.namespaces.finalize.update",
            "core/v1/namespaces/prod/finalize",
            {"resource": "namespaces", "namespace": "prod", "name": "prod", "subresource": "finalize"},
            "/api/v1/namespaces/prod/finalize",
        ),
        ("io.k8s.core.v1.namespaces.list", "core/v1/namespaces", {"resource": "namespaces"}, "/api/v1/namespaces"),
        (
            "io.k8s.core.v1.nodes.proxy.get",
            "core/v1/nodes/n1/proxy/metrics/cadvisor",
            {"resource": "nodes", "name": "n1", "subresource": "proxy"},
            "/api/v1/nodes/n1/proxy/metrics/cadvisor",
        ),
        (
            "com.example.stable.v1.crontabs.delete",
            "stable.example.com/v1/namespaces/prod/crontabs/nightly",
            {"resource": "crontabs", "namespace": "prod", "name": "nightly", "apiGroup": "stable.example.com"},
            "/apis/stable.example.com/v1/namespaces/prod/crontabs/nightly",
        ),
        ("io.k8s.get", "apis/apps/v1", {}, "/apis/apps/v1"),
        ("io.k8s.get", "healthz", {}, "/healthz"),
    ],
)
def test_names_of_resources_become_objects(method: str, name: str, target: dict[str, str], uri: str) -> None:
    """With the members that an API server writes, and none for a path that is no resource."""
    made = audit_event(log_entry(method, name))

    assert made is not None
    assert made["requestURI"] == uri
    assert made.get("objectRef", {}) == (target and {"apiVersion": "v1", **target})
    assert made["verb"] == method.rpartition(".")[2]


@pytest.mark.parametrize(
    ("first", "last", "name", "stage"),
    [
        (True, True, "pods/web", "ResponseComplete"),
        (True, False, "pods/web/log", "ResponseStarted"),
        (False, True, "pods/web/exec", "ResponseComplete"),
        (True, True, "pods/web/attach", "ResponseStarted"),
        (False, False, "pods/web/portforward", "ResponseStarted"),
        (False, False, "pods/web", "ResponseComplete"),
    ],
)
def test_the_operation_shows_the_stage(*, first: bool, last: bool, name: str, stage: str) -> None:
    """Without it, a connection that stays open has started."""
    made = audit_event(log_entry(CREATE, f"core/v1/namespaces/prod/{name}", first=first, last=last))
    assert made is not None
    assert made["stage"] == stage


@pytest.mark.parametrize(
    ("payload", "status"),
    [
        ({"status": {"code": 0}}, {"code": 201}),
        (
            {
                "status": {"code": 7, "message": "pods is forbidden"},
                "response": {"kind": "Status", "code": 403, "reason": "Forbidden", "status": "Failure"},
            },
            {"code": 403, "reason": "Forbidden", "message": "pods is forbidden"},
        ),
        ({"status": {"code": 6}}, {"code": 409}),
        ({"status": {"code": 99}}, {"code": 500}),
        ({"status": {"code": True}}, {"code": 201}),
        ({"response": {"kind": "Status", "status": "Success"}}, {"code": 201}),
    ],
)
def test_a_refused_request_has_the_code_of_http(payload: dict[str, Any], status: dict[str, Any]) -> None:
    """Nobody may look successful who was refused; what GKE logs of success is nothing."""
    made = audit_event(log_entry(CREATE, POD, **payload))
    assert made is not None
    assert made["responseStatus"] == status


@pytest.mark.parametrize(("granted", "decision", "code"), [({"granted": True}, "allow", 101), ({}, "forbid", 403)])
def test_without_labels_the_permission_shows_the_decision(granted: dict[str, bool], decision: str, code: int) -> None:
    """False is left out of the JSON."""
    entry = exec_entry(authorizationInfo=[{"permission": "io.k8s.core.v1.pods.exec.create", **granted}])
    del entry["labels"]
    event = _event(entry)

    assert (event["ka.auth.decision"], event["ka.response.code"]) == (decision, str(code))


def test_the_insert_id_identifies_an_entry_without_an_operation() -> None:
    """Both are the API server's auditID in most entries."""
    entry = log_entry(CREATE, POD) | {"insertId": "230ba8alnweli"}
    del entry["operation"]
    event = _event(entry)

    assert event.identity == ("k8s_audit", "230ba8alnweli", "ResponseComplete")


def test_an_entry_with_nothing_in_it_is_refused() -> None:
    """It has no id."""
    with pytest.raises(BadJsonEvent, match="auditID is missing"):
        _event({"protoPayload": {"serviceName": "k8s.io", "authorizationInfo": [1], "status": [], "methodName": 1}})


def test_entries_of_other_services_are_left_out() -> None:
    """One sink of Cloud Logging may route the audit logs of a whole project."""
    other = log_entry("google.container.v1.ClusterManager.CreateCluster", "projects/p/zones/z/clusters/c")
    other["protoPayload"]["serviceName"] = "container.googleapis.com"

    events = list(read_events(json.dumps([other, log_entry(CREATE, POD), request()]).encode()))
    assert [event["ka.target.resource"] for event in events] == ["pods", "secrets"]


def test_an_audit_event_is_no_entry() -> None:
    """An unknown member does not replace what an API server states."""
    assert not is_log_entry(request(protoPayload={}))
    assert not is_log_entry({"protoPayload": 1})
    assert not is_log_entry([])
