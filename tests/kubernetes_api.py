"""An API server over HTTP, with the parts of Kubernetes' API that Lanner uses: lists in pages, watches, leases.

It sends objects as large as real ones, and fails on demand: 410 Gone, connections that break, restarts.
"""

import copy
import json
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

TOKEN = "s3cr3t-token-of-the-test"
_LEASES = "/apis/coordination.k8s.io/v1/namespaces/"
_PARTIAL = "as=PartialObjectMetadata"
PATHS = {
    "Namespace": "/api/v1/namespaces",
    "Deployment": "/apis/apps/v1/deployments",
    "ReplicaSet": "/apis/apps/v1/replicasets",
    "ReplicationController": "/api/v1/replicationcontrollers",
    "Job": "/apis/batch/v1/jobs",
    "Service": "/api/v1/services",
    "Pod": "/api/v1/pods",
}


def reference(owner: dict[str, Any]) -> dict[str, Any]:
    """Return a reference to a controller."""
    about = owner["metadata"]
    return {"kind": owner["kind"], "name": about["name"], "uid": about["uid"], "controller": True}


def thing(kind: str, name: str, uid: str, namespace: str = "", **more: Any) -> dict[str, Any]:
    """Return an object with what an API server adds. more: labels, owner, annotations, spec."""
    owner = more.get("owner")
    about: dict[str, Any] = {
        "name": name,
        "uid": uid,
        "labels": more.get("labels", {}),
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "x" * 500} | more.get("annotations", {}),
        "managedFields": [{"manager": "kubelet", "fieldsV1": {"f:status": {"f:conditions": "y" * 800}}}],
    }
    if namespace:
        about["namespace"] = namespace
    if owner is not None:
        about["ownerReferences"] = [owner if "metadata" not in owner else reference(owner)]
    return {"kind": kind, "metadata": about, "spec": more.get("spec", {}), "status": {"conditions": ["z" * 300]}}


def pod(name: str, uid: str, namespace: str = "prod", **more: Any) -> dict[str, Any]:
    """Return a pod with a container whose environment holds a secret."""
    spec = {
        "nodeName": more.pop("node", "worker-1"),
        "serviceAccountName": more.pop("account", "web"),
        "containers": [{"name": "c", "image": "nginx", "env": [{"name": "PASSWORD", "value": "env-s3cr3t"}] * 20}],
        "volumes": [{"name": "v", "projected": {"sources": ["q" * 200] * 5}}],
    }
    return thing("Pod", name, uid, namespace, spec=spec, **more)


class KubernetesApi:
    """The server; use it as a context manager."""

    def __init__(self, port: int = 0) -> None:
        self.requests: Counter[str] = Counter()
        """Requests by `list PATH` and `watch PATH`."""
        self.failures: dict[str, list[int]] = defaultdict(list)
        """By path, the statuses with which the next requests fail; 0 for one that doesn't."""
        self.slowdown = threading.Event()
        """Set: leases are not answered."""
        self.pages: list[int] = []
        self._objects: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
        self._events: list[tuple[int, str, str, dict[str, Any]]] = []
        self._leases: dict[str, dict[str, Any]] = {}
        self._version = 1000
        self._oldest = 0
        self._generation = 0
        self._changed = threading.Condition()
        self._server = self._listen(port)
        self.port = self._server.server_address[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The address."""
        return f"http://127.0.0.1:{self.port}"

    def kubeconfig(self, folder: Path) -> Path:
        """Write a kubeconfig with a token; return its path."""
        path = folder / "kubeconfig"
        path.write_text(
            json.dumps(
                {
                    "current-context": "c",
                    "clusters": [{"name": "k", "cluster": {"server": self.url}}],
                    "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u", "namespace": "lanner"}}],
                    "users": [{"name": "u", "user": {"token": TOKEN}}],
                }
            )
        )
        return path

    def put(self, *objects: dict[str, Any]) -> None:
        """Create or change objects."""
        with self._changed:
            for each in objects:
                self._version += 1
                item = copy.deepcopy(each)
                item["metadata"]["resourceVersion"] = str(self._version)
                path, uid = PATHS[item["kind"]], item["metadata"]["uid"]
                kind = "MODIFIED" if uid in self._objects[path] else "ADDED"
                self._objects[path][uid] = item
                self._events.append((self._version, path, kind, item))
            self._changed.notify_all()

    def delete(self, kind: str, uid: str, *, silently: bool = False) -> None:
        """Delete an object; silently: watches never hear of it, as after a compaction."""
        with self._changed:
            self._version += 1
            item = self._objects[PATHS[kind]].pop(uid)
            item = copy.deepcopy(item)
            item["metadata"]["resourceVersion"] = str(self._version)
            if not silently:
                self._events.append((self._version, PATHS[kind], "DELETED", item))
            self._changed.notify_all()

    def size_of_pod(self) -> int:
        """Return the bytes of a pod as it is sent."""
        return len(json.dumps(next(iter(self._objects[PATHS["Pod"]].values()))))

    def compact(self) -> None:
        """Forget all former versions, and end all watches: they get 410 Gone when they continue."""
        with self._changed:
            self._version += 1
            self._oldest = self._version
            self._events.clear()
            self._generation += 1
            self._changed.notify_all()

    def drop_watches(self) -> None:
        """Break all connections of watches."""
        with self._changed:
            self._generation += 1
            self._changed.notify_all()

    def take_lease(self, namespace: str, name: str, holder: str) -> None:
        """Make another process the holder of a lease."""
        with self._changed:
            self._version += 1
            lease = self._leases[f"{_LEASES}{namespace}/leases/{name}"]
            lease["spec"]["holderIdentity"] = holder
            lease["metadata"]["resourceVersion"] = str(self._version)

    def lease(self, namespace: str, name: str) -> dict[str, Any]:
        """Return the specification of a lease."""
        found: dict[str, Any] = self._leases[f"{_LEASES}{namespace}/leases/{name}"]["spec"]
        return found

    def stop(self) -> None:
        """Stop listening, and break all connections."""
        self.drop_watches()
        self._server.shutdown()
        self._server.server_close()

    def restart(self) -> None:
        """Listen again at the same address."""
        self._server = self._listen(self.port)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def _listen(self, port: int) -> ThreadingHTTPServer:
        api = self

        class Handler(_Handler):
            server_api = api

        ThreadingHTTPServer.daemon_threads = True
        return ThreadingHTTPServer(("127.0.0.1", port), Handler)

    def page(self, path: str, limit: int, token: str, node: str) -> tuple[int, dict[str, Any]]:
        """Return the status and the body of a page."""
        with self._changed:
            version, _, start = token.partition(":") if token else (str(self._version), "", "0")
            if int(version) < self._oldest:
                return 410, status(410, "The provided continue parameter is too old")
            items = [each for each in self._objects[path].values() if node in ("", each["spec"].get("nodeName"))]
            end = int(start) + limit
            part = items[int(start) : end]
            self.pages.append(len(part))
            about = {"resourceVersion": version, "continue": f"{version}:{end}" if end < len(items) else ""}
            return 200, {"kind": "List", "metadata": about, "items": part}

    def changes(self, path: str, version: int, seconds: float) -> Iterator[dict[str, Any]]:
        """Yield the events of a watch, and a bookmark when nothing happens for a while."""
        generation, at = self._generation, version
        while self._generation == generation:
            with self._changed:
                if version < self._oldest:
                    yield {"type": "ERROR", "object": status(410, "too old resource version")}
                    return
                found = [each for each in self._events if each[0] > at and each[1] == path]
                at = max([at, *(each[0] for each in found)])
                if not found and not self._changed.wait(min(seconds, 1.0)):
                    found = [(self._version, path, "BOOKMARK", {"metadata": {"resourceVersion": str(self._version)}})]
                    at = self._version
            for _, _, kind, item in found:
                yield {"type": kind, "object": item}

    def answer_lease(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Read, create or replace a lease, with optimistic concurrency."""
        with self._changed:
            name = path if method != "POST" else f"{path}/{body['metadata']['name']}"
            lease = self._leases.get(name)
            if method == "GET":
                return (404, status(404, "not found")) if lease is None else (200, lease)
            if method == "POST" and lease is not None:
                return 409, status(409, "exists")
            version = body["metadata"].get("resourceVersion")
            if method == "PUT" and (lease is None or version != lease["metadata"]["resourceVersion"]):
                return 409, status(409, "the object has been modified")
            self._version += 1
            body["metadata"]["resourceVersion"] = str(self._version)
            self._leases[name] = body
            return 200, body


def status(code: int, message: str) -> dict[str, Any]:
    """Return a failure as the API server reports it."""
    return {"kind": "Status", "status": "Failure", "code": code, "message": message}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_api: KubernetesApi

    def log_message(self, *_: object) -> None:
        """Log nothing."""

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._answer(401, status(401, "Unauthorized"))
        if parts.path.startswith(_LEASES):
            return self._lease("GET", parts.path)
        word = "watch" if query.get("watch") else "list"
        api = self.server_api
        api.requests[f"{word} {parts.path}"] += 1
        if api.failures[parts.path]:
            code = api.failures[parts.path].pop(0)
            if code:
                return self._answer(code, status(code, "failure on demand"))
        if word == "watch":
            return self._watch(parts.path, int(query["resourceVersion"]), float(query["timeoutSeconds"]))
        node = query.get("fieldSelector", "").removeprefix("spec.nodeName=")
        code, body = api.page(parts.path, int(query.get("limit", "1000000")), query.get("continue", ""), node)
        if _PARTIAL in self.headers.get("Accept", "") and code == 200:
            body["items"] = [_metadata(each) for each in body["items"]]
        return self._answer(code, body)

    def do_POST(self) -> None:
        self._lease("POST", self.path)

    def do_PUT(self) -> None:
        self._lease("PUT", self.path)

    def _lease(self, method: str, path: str) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else {}
        while self.server_api.slowdown.is_set():
            self.server_api.slowdown.wait(0.1)
            threading.Event().wait(0.1)
        self._answer(*self.server_api.answer_lease(method, path, body))

    def _watch(self, path: str, version: int, seconds: float) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        is_partial = _PARTIAL in self.headers.get("Accept", "")
        self.close_connection = True
        try:
            for event in self.server_api.changes(path, version, seconds):
                if is_partial and event["type"] != "ERROR":
                    event["object"] = _metadata(event["object"])
                line = json.dumps(event).encode() + b"\n"
                self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
                self.wfile.flush()
        except OSError:
            return

    def _answer(self, code: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        try:
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
        except OSError:
            return


def _metadata(item: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "PartialObjectMetadata", "metadata": item["metadata"]}


def deployment_with_pods(name: str, pods: int, namespace: str = "prod") -> list[dict[str, Any]]:
    """Return a deployment, its replica set and its pods."""
    labels = {"app": name}
    deployment = thing("Deployment", name, f"d-{name}", namespace, labels={"team": "shop"})
    rs = thing("ReplicaSet", f"{name}-59f", f"rs-{name}", namespace, labels=labels, owner=deployment)
    return [
        deployment,
        rs,
        *(pod(f"{name}-59f-{n}", f"pod-{name}-{n}", namespace, labels=labels, owner=rs) for n in range(pods)),
    ]
