"""Audit events for tests, as an API server writes them."""

import json
from typing import Any

TIME = 1_795_602_855_621_094_000


def request(**changes: Any) -> dict[str, Any]:
    """Return a request to read a secret, with changed members."""
    return {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "Request",
        "auditID": "b0d7ff30-5a61-4b37-9b0c-3f1f0e1f5a10",
        "stage": "ResponseComplete",
        "requestURI": "/api/v1/namespaces/prod/secrets/db",
        "verb": "get",
        "user": {"username": "alice", "groups": ["dev", "system:authenticated"]},
        "sourceIPs": ["192.0.2.7", "192.0.2.1"],
        "userAgent": "kubectl/v1.34.4",
        "objectRef": {"resource": "secrets", "namespace": "prod", "name": "db"},
        "responseStatus": {"code": 200},
        "requestReceivedTimestamp": "2026-11-25T10:34:15.601094Z",
        "stageTimestamp": "2026-11-25T10:34:15.621094Z",
        "annotations": {"authorization.k8s.io/decision": "allow", "authorization.k8s.io/reason": ""},
        **changes,
    }


def exec_request(*words: str, container: str = "web") -> dict[str, Any]:
    """Return a request to run a command in a pod, as kubectl makes it over WebSockets."""
    query = "&".join([*(f"command={word}" for word in words), f"container={container}", "stdin=true", "tty=true"])
    return request(
        stage="ResponseStarted",
        requestURI=f"/api/v1/namespaces/prod/pods/web/exec?{query}",
        objectRef={"resource": "pods", "subresource": "exec", "namespace": "prod", "name": "web"},
        responseStatus={"code": 101},
    )


def pod_request(**spec: Any) -> dict[str, Any]:
    """Return a request to create a pod."""
    return request(
        verb="create",
        requestURI="/api/v1/namespaces/prod/pods",
        objectRef={"resource": "pods", "namespace": "prod", "name": "web"},
        requestObject={"kind": "Pod", "spec": spec},
        responseObject={"metadata": {"name": "web"}},
    )


def line(event: Any) -> bytes:
    """Return an event as a line of a log."""
    return json.dumps(event).encode() + b"\n"
