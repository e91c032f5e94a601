"""Users, groups and containers, as far as a capture names them."""

import json
import re
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from itertools import islice
from typing import Any

from collector.processes.container_names import ContainerName, container_of
from collector.processes.users import Names
from foundation.caches import BoundedMap, SizedMap
from lanner.captures.format.lists import ListedGroup, ListedUser
from schemas.batch import Container, Mount

_MAX_ACCOUNTS, _MAX_ACCOUNT_BYTES = 65536, 8 << 20
_MAX_CONTAINERS, _MAX_CONTAINER_BYTES = 8192, 64 << 20
_MAX_JSON = 1 << 20
"""Bytes of a container's description; Falco's are a few KiB."""
_MAX_PAIRS, _PAIR_BYTES = 1024, 256
"""Labels and mounts of a container that are retained, and what one takes in addition to its texts."""
_LONGEST_IP = 64
_TYPES = {0: "docker", 1: "lxc", 2: "libvirt_lxc", 3: "mesos", 4: "rkt", 5: "custom", 6: "cri", 7: "containerd"} | {
    8: "cri-o",
    9: "bpm",
    11: "podman",
}
"""Container types by their number in a capture."""
_ROOT = ListedUser(0, 0, "root", "/root", "<NA>")
UNKNOWN_NAME = "<NA>"


class CaptureAccounts:
    """Names of users and groups, on the host and in each container."""

    def __init__(self) -> None:
        self._users: SizedMap[tuple[str, int], ListedUser] = SizedMap(_MAX_ACCOUNTS, _MAX_ACCOUNT_BYTES)
        self._groups: SizedMap[tuple[str, int], str] = SizedMap(_MAX_ACCOUNTS, _MAX_ACCOUNT_BYTES)

    def add(self, account: ListedUser | ListedGroup, container: str = "") -> None:
        """Add a user or a group; container: its id, "" for the host."""
        if isinstance(account, ListedUser):
            size = len(container + account.name + account.home + account.shell)
            self._users.put((container, account.uid), account, size)
        else:
            self._groups.put((container, account.gid), account.name, len(container + account.name))

    def remove_user(self, uid: int, container: str) -> None:
        """Remove a user."""
        self._users.pop((container, uid))

    def remove_group(self, gid: int, container: str) -> None:
        """Remove a group."""
        self._groups.pop((container, gid))

    def user_name(self, uid: int, container: ContainerName | None) -> str | None:
        """Return a user's name, None if the capture doesn't name it."""
        user = self._users.get(("" if container is None else container.id, uid))
        return user.name if user is not None else None

    def group_name(self, gid: int, container: ContainerName | None) -> str | None:
        """Return a group's name, None if the capture doesn't name it."""
        return self._groups.get(("" if container is None else container.id, gid))

    def names(
        self, uid: int, gid: int | None, loginuid: int | None, container: ContainerName | None, pids: tuple[int, ...]
    ) -> Names:
        """Return the names of a process's ids, as Falco shows unknown ones."""
        del pids
        where = "" if container is None else container.id
        user = self._users.get((where, uid)) or (_ROOT if uid == 0 else None)
        login = None if loginuid is None else self.user_name(loginuid, container)
        group = None if gid is None else self.group_name(gid, container)
        if login is None:
            login = "root" if loginuid == 0 else UNKNOWN_NAME
        return Names(
            user=UNKNOWN_NAME if user is None else user.name,
            group=group or ("root" if gid == 0 else UNKNOWN_NAME),
            login_name=login,
            home=UNKNOWN_NAME if user is None else user.home,
            shell=UNKNOWN_NAME if user is None else user.shell,
        )


class Containers:
    """Facts of containers, from the events that describe them."""

    def __init__(self) -> None:
        self.version = 0
        """Increases whenever more becomes known of any container."""
        self.too_long = 0
        """Descriptions that were not read."""
        self._described: SizedMap[str, Container] = SizedMap(_MAX_CONTAINERS, _MAX_CONTAINER_BYTES)
        self._facts: BoundedMap[str, Container] = BoundedMap(_MAX_CONTAINERS)
        self._ips: set[str] = set()

    def describe(self, data: bytes) -> None:
        """Take over the description of a container, as JSON; a damaged one is ignored."""
        if len(data) > _MAX_JSON:
            self.too_long += 1
            return
        try:
            facts = json.loads(data.rstrip(b"\0"))
            facts = facts["container"]
            key = facts["id"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return
        if isinstance(facts, dict) and isinstance(key, str) and key:
            found = _container(key[:12], facts)
            pairs = sum(len(each or ()) for each in (found.labels, found.pod_labels, found.mounts))
            self._described.put(found.id, found, len(data) + _PAIR_BYTES * pairs)
            if len(self._ips) < _MAX_CONTAINERS and found.ip and len(found.ip) <= _LONGEST_IP:
                self._ips.add(found.ip)
            self._facts = BoundedMap(_MAX_CONTAINERS)
            self.version += 1

    def owns(self, name: ContainerName, address: str) -> bool | None:
        """Return whether an address is a container's own, or any container's if its own is unknown.

        None if the host's addresses count too.
        """
        if ":" in address:
            return False
        own = self.facts(name).ip
        if own:
            return True if address == own else None
        return address in self._ips

    def facts(self, name: ContainerName) -> Container:
        """Return what is known of a container so far."""
        found = self._facts.get(name.key)
        if found is None:
            described = self._described.get(name.id)
            found = Container(name.id, name.full_id, name.type)
            if described is not None:
                full_id, kind = described.full_id or name.full_id, described.type or name.type
                found = replace(described, id=name.id, full_id=full_id, type=kind)
            self._facts.put(name.key, found)
        return found


def _container(identity: str, facts: dict[str, Any]) -> Container:
    """Return the container of a description; full id and type may be empty."""

    def text(key: str) -> str | None:
        value = facts.get(key)
        return value if isinstance(value, str) else None

    def flag(key: str) -> bool | None:
        value = facts.get(key)
        return value if isinstance(value, bool) else None

    labels, pod_labels = _pairs(facts.get("labels")), _pairs(facts.get("pod_sandbox_labels"))
    of_pod = dict(labels or ())
    created, kind = facts.get("created_time"), facts.get("type")
    return Container(
        id=identity,
        full_id=text("full_id") or "",
        type=_TYPES.get(kind, "") if isinstance(kind, int) else "",
        name=text("name"),
        image=text("image"),
        image_id=text("imageid"),
        image_repository=text("imagerepo") or "",
        image_tag=text("imagetag") or "",
        image_digest=text("imagedigest"),
        privileged=flag("privileged"),
        start_ts=created * 1_000_000_000 if isinstance(created, int) and 0 < created < 1 << 33 else None,
        ip=text("ip"),
        user=text("User"),
        host_pid=flag("host_pid"),
        host_network=flag("host_network"),
        host_ipc=flag("host_ipc"),
        mounts=tuple(islice(_mounts(facts.get("Mounts")), _MAX_PAIRS)),
        labels=labels,
        pod_name=of_pod.get("io.kubernetes.pod.name"),
        pod_uid=of_pod.get("io.kubernetes.pod.uid"),
        pod_namespace=of_pod.get("io.kubernetes.pod.namespace"),
        pod_sandbox_id=text("pod_sandbox_id") or None,
        pod_labels=pod_labels,
    )


def _pairs(value: Any) -> tuple[tuple[str, str], ...] | None:
    if not isinstance(value, dict):
        return None
    return tuple(islice(((key, text) for key, text in value.items() if isinstance(text, str)), _MAX_PAIRS))


def _mounts(value: Any) -> Iterable[Mount]:
    for each in value if isinstance(value, list) else ():
        if isinstance(each, dict):
            found = [each.get(key, "") for key in ("Source", "Destination", "Mode", "Propagation")]
            texts = [text if isinstance(text, str) else "" for text in found]
            yield Mount(texts[0], texts[1], texts[2], each.get("RW") is True, texts[3])


_ID_LENGTH = 64
_NO_HEXADECIMAL = re.compile("[^0-9a-fA-F]")
_LAYOUTS = (
    ("podman", "/libpod-", ".scope"),
    ("podman", "/libpod-", ".scope/container"),
    ("podman", "/libpod-", ""),
    ("podman", "/libpod-payload-", ".scope"),
    ("podman", "/libpod-payload-", ".scope/container"),
    ("podman", "/libpod-payload-", ""),
    ("docker", "/", ""),
    ("docker", "/docker-", ".scope"),
    ("cri-o", "/crio-", ""),
    ("containerd", "/cri-containerd-", ".scope"),
    ("cri-o", "/crio-", ".scope"),
    ("containerd", ":cri-containerd:", ""),
    ("containerd", "/nerdctl-", ".scope"),
)
"""Runtimes, with the texts before and after an id of 64 digits, in the order in which they are looked for."""
_NAMESPACE = re.compile(r"/[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*/")
_OF_SYSTEMD = (".service", ".slice", ".scope")
_LXC = ("/lxc/", "/lxc.payload/", "/lxc.payload.")
_LIBVIRT = ".libvirt-lxc"
_CONTROLLER = re.compile(r"^(.*?)(?:_cgroup)?(?==)")
_CONTROLLERS = {"perf": "perf_event", "mem": "memory", "io": "blkio"}
"""Names of cgroups' controllers in the kernel, and those that Falco gives them."""


def cgroups_of(cgroups: tuple[str, ...]) -> tuple[ContainerName | None, str]:
    """Return the container that cgroups (``cpu=/docker/...``) belong to, and their text."""
    if not cgroups:
        return None, ""
    named = (_container_of(each.partition("=")[2]) for each in cgroups)
    text = " ".join(_CONTROLLER.sub(lambda found: _CONTROLLERS.get(found[1], found[1]), each) for each in cgroups)
    return next((name for name in named if name is not None), None), text


@lru_cache(maxsize=4096)
def _container_of(path: str) -> ContainerName | None:
    found = _by_id(path) or _by_namespace(path) or _by_name(path)
    name = container_of(path)
    return found if found is None or name is None or name.id != found.id else name


def _by_id(path: str) -> ContainerName | None:
    for kind, before, after in _LAYOUTS:
        start = path.rfind(before)
        end = path.rfind(after) if after else len(path)
        start += len(before)
        if start < len(before) or end - start != _ID_LENGTH:
            continue
        other = _NO_HEXADECIMAL.search(path, start)
        # Falco compares the place in the path, and not in the id.
        if other is None or other.start() >= _ID_LENGTH:
            return ContainerName(kind, path[start:end])
    return None


def _by_namespace(path: str) -> ContainerName | None:
    found = _NAMESPACE.search(path)
    if found is None or path.endswith(_OF_SYSTEMD):
        return None
    rest = path[path.rfind(found[0]) + len(found[0]) :]
    return ContainerName("containerd", rest) if 0 < len(rest) <= _ID_LENGTH else None


def _by_name(path: str) -> ContainerName | None:
    for prefix in _LXC:
        _, found, rest = path.partition(prefix)
        if found:
            return ContainerName("lxc", rest.partition("/")[0])
    if path.endswith(_LIBVIRT):
        return ContainerName("libvirt_lxc", path.removesuffix(_LIBVIRT).rpartition("/")[2])
    return None
