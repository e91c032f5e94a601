"""Entries of Cloud Logging for tests, as Google documents what GKE writes: one for each request to an API server."""

from typing import Any

AUDIT_LOG = "type.googleapis.com/google.cloud.audit.AuditLog"


def log_entry(method: str, resource: str, *, first: bool = True, last: bool = True, **payload: Any) -> dict[str, Any]:
    """Return an entry about a request; members of its audit log can be added."""
    # JSON of protocol buffers leaves out what is false.
    flags = {name: True for name, is_set in (("first", first), ("last", last)) if is_set}
    return {
        "insertId": "0c7d4e0b-7e3b-4f3c-8a2b-5d0f4c1f2a01",
        "logName": "projects/shop-prod/logs/cloudaudit.googleapis.com%2Factivity",
        "timestamp": "2026-11-25T10:34:15.621094Z",
        "receiveTimestamp": "2026-11-25T10:34:17.020406000Z",
        "resource": {
            "type": "k8s_cluster",
            "labels": {"project_id": "shop-prod", "location": "europe-west3", "cluster_name": "shop"},
        },
        "labels": {"authorization.k8s.io/decision": "allow", "authorization.k8s.io/reason": "access granted by IAM"},
        "operation": {"id": "0c7d4e0b-7e3b-4f3c-8a2b-5d0f4c1f2a01", "producer": "k8s.io", **flags},
        "protoPayload": {
            "@type": AUDIT_LOG,
            "serviceName": "k8s.io",
            "methodName": method,
            "resourceName": resource,
            "authenticationInfo": {"principalEmail": "alice@example.com"},
            "authorizationInfo": [{"granted": True, "permission": method, "resource": resource}],
            "requestMetadata": {"callerIp": "192.0.2.7", "callerSuppliedUserAgent": "kubectl/v1.34.4"},
            "status": {},
            **payload,
        },
    }


def exec_entry(**changes: Any) -> dict[str, Any]:
    """Return the entry about the start of a command in a pod."""
    name = "core/v1/namespaces/prod/pods/web/exec"
    return log_entry("io.k8s.core.v1.pods.exec.create", name, last=False, **changes)
