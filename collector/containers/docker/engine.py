"""Inspects containers through Docker's Engine API on a unix socket. Podman offers the same API.

All requests are read-only and time out: a hanging daemon costs a worker one time-out.
"""

import http.client
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from collector.containers.bundles.bundles import Bundle
from collector.containers.bundles.facts import MOBY
from collector.containers.decoding import MAX_BYTES, TooLarge, decoded
from collector.containers.docker.inspected import (
    container_from,
    container_from_entry,
    image_of,
    init_pid,
    shares_network_with,
)
from collector.containers.identity.naming import ContainerName
from collector.containers.json_values import objects, text
from collector.containers.runtime import Connection, ContainerNotFound, RuntimeUnavailable, confirms
from schemas.batch import Container

DEFAULT_SOCKET = Path("/var/run/docker.sock")
PODMAN_SOCKET = Path("/run/podman/podman.sock")
TIMEOUT = 2.0
"""Seconds per query. Docker answers an inspect of a starting container only once it has started."""


def socket_path(setting: str | None, environment: Mapping[str, str]) -> Path:
    """Choose Docker's socket: the setting, else DOCKER_HOST if it names a unix socket, else the usual path."""
    if setting:
        return Path(setting.removeprefix("unix://"))
    host = environment.get("DOCKER_HOST", "")
    return Path(host.removeprefix("unix://")) if host.startswith("unix://") else DEFAULT_SOCKET


class Docker:
    """One daemon. Each inspect opens a new connection.

    Args:
        path: the daemon's socket.
        kind: docker or podman, as Falco's container.type.
        timeout: seconds that one query may take.
        proc: where procfs is mounted.
    """

    def __init__(
        self,
        path: Path = DEFAULT_SOCKET,
        kind: str = "docker",
        timeout: float = TIMEOUT,
        proc: Path = Path("/proc"),
    ) -> None:
        self._path = path
        self._kind = kind
        self._timeout = timeout
        self._proc = proc

    def answers(self, name: ContainerName) -> bool:
        """Return whether a container may be this daemon's; the kubelet's plain cgroups don't name their runtime."""
        is_any_pods = self._kind == "docker" and name.type == "containerd" and name.pod_uid is not None
        return name.type == self._kind or is_any_pods

    def inspect(self, name: ContainerName, bundle: Bundle | None = None) -> Container:
        """Inspect a container.

        Raises:
            ContainerNotFound: the daemon doesn't know it, doesn't know it yet, runs its first process in another
                cgroup, or leaves it to containerd.
            RuntimeUnavailable: the daemon can't be reached, times out or gives an invalid response.
            TooLarge: its response is too large.
        """
        if bundle is not None and bundle.namespace not in {None, MOBY}:
            raise ContainerNotFound(f"{name.full_id} is containerd's")
        # Podman works without a socket, and a pod is more likely another runtime's.
        if (self._kind != "docker" or name.type != self._kind) and not self._path.is_socket():
            raise ContainerNotFound(f"nothing listens at {self._path}")
        inspected = self._get(f"/containers/{name.full_id}/json")
        if inspected.get("Id") != name.full_id or not confirms(name, init_pid(inspected), self._proc):
            raise ContainerNotFound(f"{name.full_id} is not in {name.cgroup}")
        image_id, shared = image_of(inspected), shares_network_with(inspected)
        image = None if image_id is None else self._get_if_known(f"/images/{image_id}/json")
        sandbox = None if shared is None else self._get_if_known(f"/containers/{shared}/json")
        return container_from(name, inspected, image, sandbox, self._kind)

    def listed(self, name: ContainerName) -> Container | None:
        """Return what the list of containers shows of one, at once: an inspect waits until it has started."""
        if name.type != "docker" or not name.is_certain:
            return None
        filters = quote(json.dumps({"id": [name.full_id]}))
        try:
            value = self._load(f"/containers/json?all=true&filters={filters}")
        except (ContainerNotFound, RuntimeUnavailable, TooLarge):
            return None
        found = [each for each in objects({"all": value}, "all") if each.get("Id") == name.full_id]
        return container_from_entry(name, found[0]) if found else None

    def version(self) -> str:
        """Return the daemon's version. Raises RuntimeUnavailable."""
        try:
            return text(self._get("/version"), "Version") or "of an unknown version"
        except ContainerNotFound as error:
            raise RuntimeUnavailable(f"{self._path}: the daemon doesn't offer Docker's API") from error

    def _get_if_known(self, path: str) -> dict[str, Any] | None:
        try:
            return self._get(path)
        except (ContainerNotFound, RuntimeUnavailable, TooLarge):
            # The rest doesn't depend on it.
            return None

    def _get(self, path: str) -> dict[str, Any]:
        value = self._load(path)
        if not isinstance(value, dict):
            raise RuntimeUnavailable(f"{self._path}: not a JSON object for {path}")
        return value

    def _load(self, path: str) -> Any:
        connection = _UnixConnection(self._path, self._timeout)
        try:
            connection.request("GET", path, headers={"Host": "docker", "Connection": "close"})
            answer = connection.getresponse()
            body = answer.read(MAX_BYTES + 1)
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise RuntimeUnavailable(f"{self._path}: {error}") from error
        finally:
            connection.close()
        if answer.status == http.HTTPStatus.NOT_FOUND:
            raise ContainerNotFound(path)
        if answer.status != http.HTTPStatus.OK:
            raise RuntimeUnavailable(f"{self._path}: HTTP status {answer.status} for {path}")
        try:
            return decoded(body)
        except ValueError as error:
            raise RuntimeUnavailable(f"{self._path}: invalid JSON for {path}") from error
        except TooLarge as error:
            raise TooLarge(f"{self._path}: {path}: {error}") from error


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        is_configured = self._path not in {DEFAULT_SOCKET, PODMAN_SOCKET}
        self.sock = Connection.to(self._path, self.timeout or TIMEOUT, is_configured=is_configured)
