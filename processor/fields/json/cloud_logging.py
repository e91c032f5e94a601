"""Makes Kubernetes audit events of the entries that GKE writes to Cloud Logging instead of them.

Sources: Google's references of LogEntry and AuditLog, and google/rpc/code.proto. What GKE leaves out stays missing: the
groups of users, the query of the URI, who was impersonated.
"""

from collections.abc import Mapping
from typing import Any

_SERVICE = "k8s.io"
_CORE = "core"
_UPGRADED = frozenset({"exec", "attach", "portforward"})
_OF_NAMESPACES = frozenset({"status", "finalize"})
"""Subresources of namespaces themselves. Source: NewRequestInfo of k8s.io/apiserver."""
_DECISION = "authorization.k8s.io/decision"
_HTTP_CODES = (200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401)
"""By code of google.rpc.Status."""
_OK, _CREATED, _SWITCHING_PROTOCOLS, _FORBIDDEN, _UNKNOWN = 200, 201, 101, 403, 500


def is_log_entry(value: Any) -> bool:
    """Return whether a JSON value is an entry of Cloud Logging with an audit log, of GKE or another service."""
    return isinstance(value, dict) and isinstance(value.get("protoPayload"), dict) and "auditID" not in value


def audit_event(entry: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the audit event of a log entry; None if it is not about a request to a Kubernetes API server."""
    payload = entry["protoPayload"]
    if payload.get("serviceName") != _SERVICE:
        return None
    method, name = _text(payload, "methodName"), _text(payload, "resourceName")
    # io.k8s.core.v1.pods.exec.create; io.k8s.get for a path such as healthz, which is no resource.
    target = _target(name) if method.count(".") > 2 else {}
    annotations = _annotations(entry, payload)
    request, response = payload.get("request"), payload.get("response")
    found = {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "RequestResponse" if response else "Request" if request else "Metadata",
        "auditID": _text(_object(entry, "operation"), "id") or _text(entry, "insertId"),
        "stage": _stage(_object(entry, "operation"), target),
        "requestURI": _uri(name, is_resource=bool(target)),
        "verb": method.rpartition(".")[2],
        "user": _user(_object(payload, "authenticationInfo")),
        "sourceIPs": [address] if (address := _text(_object(payload, "requestMetadata"), "callerIp")) else None,
        "userAgent": _text(_object(payload, "requestMetadata"), "callerSuppliedUserAgent"),
        "objectRef": target,
        "responseStatus": _status(payload, target, method, is_forbidden=annotations.get(_DECISION) == "forbid"),
        "requestObject": request,
        "responseObject": response,
        "stageTimestamp": _text(entry, "timestamp") or _text(entry, "receiveTimestamp"),
        "annotations": annotations,
    }
    return {key: value for key, value in found.items() if value not in ("", None, {})}


def _target(name: str) -> dict[str, str]:
    """Return the object that core/v1/namespaces/NAMESPACE/pods/NAME/exec names, as an API server does."""
    group, _, rest = name.partition("/")
    version, _, rest = rest.partition("/")
    parts, namespace = rest.split("/"), ""
    if parts[0] == "namespaces" and len(parts) > 1:
        namespace = parts[1]
        if len(parts) > 2 and parts[2] not in _OF_NAMESPACES:
            parts = parts[2:]
    resource, known, subresource = (*parts, "", "")[:3]
    found = {
        "resource": resource,
        "namespace": namespace,
        "name": known,
        "apiGroup": "" if group == _CORE else group,
        "apiVersion": version,
        "subresource": subresource,
    }
    return {key: value for key, value in found.items() if value} if resource else {}


def _uri(name: str, *, is_resource: bool) -> str:
    if not is_resource:
        return f"/{name}"
    return f"/api/{name.removeprefix(f'{_CORE}/')}" if name.startswith(f"{_CORE}/") else f"/apis/{name}"


def _stage(operation: Mapping[str, Any], target: Mapping[str, str]) -> str:
    """Return the stage: a request that lasts has an entry for its start and one for its end."""
    first, last = operation.get("first") is True, operation.get("last") is True
    started = first if first != last else target.get("subresource") in _UPGRADED
    return "ResponseStarted" if started else "ResponseComplete"


def _annotations(entry: Mapping[str, Any], payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return the API server's annotations, with cluster_name, location and project_id."""
    found = {**_object(entry, "labels"), **_object(_object(entry, "resource"), "labels")}
    checked = payload.get("authorizationInfo")
    if _DECISION not in found and isinstance(checked, list) and checked:
        # JSON of protocol buffers leaves out what is false.
        granted = all(isinstance(each, dict) and each.get("granted") is True for each in checked)
        found[_DECISION] = "allow" if granted else "forbid"
    return found


def _user(authentication: Mapping[str, Any]) -> dict[str, str]:
    name = _text(authentication, "principalEmail") or _text(authentication, "principalSubject")
    return {"username": name} if name else {}


def _status(
    payload: Mapping[str, Any], target: Mapping[str, str], method: str, *, is_forbidden: bool
) -> dict[str, Any]:
    status, response = _object(payload, "status"), _object(payload, "response")
    code = _number(response) if response.get("kind") == "Status" else None
    if code is None and (fault := _number(status)):
        code = _HTTP_CODES[fault] if 0 <= fault < len(_HTTP_CODES) else _UNKNOWN
    if code is None and is_forbidden:
        code = _FORBIDDEN
    if code is not None:
        found = {"code": code, "reason": _text(response, "reason"), "message": _text(status, "message")}
        return {key: value for key, value in found.items() if value}
    # GKE writes no code for success.
    if target.get("subresource") in _UPGRADED:
        return {"code": _SWITCHING_PROTOCOLS}
    return {"code": _CREATED if method.endswith(".create") else _OK}


def _number(value: Mapping[str, Any]) -> int | None:
    code = value.get("code")
    return code if isinstance(code, int) and not isinstance(code, bool) else None


def _object(value: Mapping[str, Any], key: str) -> dict[str, Any]:
    found = value.get(key)
    return found if isinstance(found, dict) else {}


def _text(value: Mapping[str, Any], key: str) -> str:
    found = value.get(key)
    return found if isinstance(found, str) else ""
