"""Objects as an API server stores them, in memory: reads, lists by label, merge patches, deletions, evictions."""

import copy
import re
from typing import Any

from collector.kubernetes.api import RequestFailed
from collector.kubernetes.reflector import RequestFailure

POD_UID = "0b9c1a52-2bbe-4d2a-9f0e-1c6f4a7d3b21"
POD = "/api/v1/namespaces/shop/pods/web-1"
NODE = "/api/v1/nodes/worker-1"
POLICIES = "/apis/networking.k8s.io/v1/namespaces/shop/networkpolicies"


class StoredObjects:
    """Answers as tests/kubernetes/test_actions.py holds that a real API server does."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.evicted: list[str] = []
        self.refuses = 0
        """The status with which the next request that writes fails."""
        self._version = 0
        self.put(POD, uid=POD_UID, labels={"app": "web"})
        for name in ("worker-1", "worker-2"):
            self.put(f"/api/v1/nodes/{name}", uid=f"uid-{name}")
            ready = [{"type": "Ready", "status": "True"}]
            self.objects[f"/api/v1/nodes/{name}"]["status"] = {"conditions": ready}

    def put(self, path: str, **metadata: Any) -> dict[str, Any]:
        """Create or replace an object."""
        self._version += 1
        name = path.rpartition("/")[2]
        about = {"name": name, "resourceVersion": str(self._version)} | metadata
        if found := re.search("/namespaces/([^/]+)/", path):
            about["namespace"] = found[1]
        self.objects[path] = {"metadata": about}
        return self.objects[path]

    async def get(self, path: str, parameters: dict[str, str] | None = None) -> Any:
        """Return an object or a list."""
        if path in self.objects:
            return copy.deepcopy(self.objects[path])
        if parameters is None:
            raise _failed(404)
        kind = path.rpartition("/")[2]
        namespace = re.search("/namespaces/([^/]+)/", path)
        label = parameters.get("labelSelector")
        items = [
            each
            for at, each in self.objects.items()
            if at.split("/")[-2] == kind
            and (namespace is None or each["metadata"].get("namespace") == namespace[1])
            and (label is None or label in each["metadata"].get("labels", {}))
        ]
        return {"items": copy.deepcopy(items)}

    async def write(self, method: str, path: str, value: Any) -> Any:
        """Change an object."""
        if self.refuses:
            status, self.refuses = self.refuses, 0
            raise _failed(status)
        if method == "POST" and path.endswith("/eviction"):
            return self._evict(path.removesuffix("/eviction"), value)
        if method == "POST":
            made = f"{path}/{value['metadata']['name']}"
            if made in self.objects:
                raise _failed(409)
            self.put(made, uid=f"uid-{self._version}", **value["metadata"])["spec"] = value["spec"]
            return None
        if path not in self.objects:
            raise _failed(404)
        about = self.objects[path]["metadata"]
        if method == "DELETE":
            if value["preconditions"]["uid"] != about["uid"]:
                raise _failed(409)
            return self.objects.pop(path)
        for name in ("uid", "resourceVersion"):
            if value["metadata"].get(name) != about[name]:
                raise _failed(409)
        _merge(self.objects[path], value)
        self._version += 1
        about["resourceVersion"] = str(self._version)
        return None

    def _evict(self, path: str, value: Any) -> None:
        if self.objects[path]["metadata"]["uid"] != value["deleteOptions"]["preconditions"]["uid"]:
            raise _failed(409)
        del self.objects[path]
        self.evicted.append(path)


def _merge(target: dict[str, Any], patch: dict[str, Any]) -> None:
    for name, value in patch.items():
        if value is None:
            target.pop(name, None)
        elif isinstance(value, dict):
            _merge(target.setdefault(name, {}), value)
        else:
            target[name] = value


def _failed(status: int) -> RequestFailed:
    return RequestFailed(RequestFailure("refused", status, text=f"{status}: on demand"))
