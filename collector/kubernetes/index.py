"""All objects of a cluster, related to each other: changes in, the pods whose records change out. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from hashlib import blake2b
from itertools import islice

from collector.kubernetes.objects import RESOURCES, KubernetesObject
from schemas.pod import MAX_OWNERS, MAX_SERVICES, BadPod, Pod, PodObject, encode_pod

_OWNERS = ("deployments", "replicasets", "replicationcontrollers", "jobs")


class ClusterIndex:
    """The objects, and which pods have changed since they were last taken."""

    def __init__(self) -> None:
        self._objects: dict[str, dict[str, KubernetesObject]] = {name: {} for name in RESOURCES}
        """By resource and uid."""
        self._gone: set[str] = set()
        """Owners that were deleted before their pods."""
        self._owned: defaultdict[str, set[str]] = defaultdict(set)
        """By uid of an owner, the uids of what it controls."""
        self._owners: dict[str, KubernetesObject] = {}
        self._namespaces: dict[str, KubernetesObject] = {}
        self._pods_in: defaultdict[str, set[str]] = defaultdict(set)
        self._services_in: defaultdict[str, dict[str, KubernetesObject]] = defaultdict(dict)
        self._keys: dict[str, str] = {}
        """By key of a record, the pod's uid in the API."""
        self._changed: dict[str, None] = {}
        self._listed: set[str] = set()

    @property
    def is_complete(self) -> bool:
        """True if every resource was listed once."""
        return len(self._listed) == len(RESOURCES)

    def counts(self) -> dict[str, int]:
        """Return the number of objects by resource."""
        return {name: len(objects) for name, objects in self._objects.items()}

    def keys(self) -> Iterator[str]:
        """Yield the keys of all records."""
        yield from self._keys

    def take_changed(self, most: int) -> list[str]:
        """Return, and forget, the keys of records that may have changed, oldest first; at most so many."""
        taken = [key for key, _ in zip(self._changed, range(most), strict=False)]
        for key in taken:
            del self._changed[key]
        return taken

    def mark_changed(self, key: str) -> None:
        """Return a key with the changed ones."""
        self._changed[key] = None

    def replace(self, resource: str, items: Iterable[KubernetesObject]) -> None:
        """Take a whole list: what it lacks was deleted."""
        listed = {item.uid: item for item in items}
        for uid in self._objects[resource].keys() - listed.keys():
            self.delete(resource, uid)
        for item in listed.values():
            self.put(resource, item)
        self._listed.add(resource)

    def put(self, resource: str, item: KubernetesObject) -> None:
        """Take a new or changed object."""
        former = self._objects[resource].get(item.uid)
        if former == item:
            return
        self._objects[resource][item.uid] = item
        if resource == "pods":
            self._put_pod(item, former)
        elif resource == "namespaces":
            self._namespaces[item.name] = item
            self._mark(self._pods_in.get(item.name, ()))
        elif resource == "services":
            self._services_in[item.namespace][item.uid] = item
            self._mark_selected(item.namespace, (item, former))
        else:
            self._gone.discard(item.uid)
            self._link(item, former)
            self._owners[item.uid] = item
            self._mark(self._pods_of(item.uid))

    def delete(self, resource: str, uid: str) -> None:
        """Take the end of an object. Owners and namespaces are remembered for the pods that they still have."""
        item = self._objects[resource].pop(uid, None)
        if item is None:
            return
        if resource == "pods":
            self._pods_in[item.namespace].discard(uid)
            if not self._pods_in[item.namespace]:
                del self._pods_in[item.namespace]
                self._drop_namespace(item.namespace)
            if self._keys.get(item.key) == uid:
                del self._keys[item.key]
                self._changed[item.key] = None
                if item.static_uid:
                    self._pass_on(item.key)
            self._unlink(item)
        elif resource == "namespaces":
            self._drop_namespace(item.name)
        elif resource == "services":
            services = self._services_in[item.namespace]
            services.pop(uid, None)
            if not services:
                del self._services_in[item.namespace]
            self._mark_selected(item.namespace, (item,))
        elif self._owned.get(uid):
            self._gone.add(uid)
        else:
            self._drop_owner(uid)

    def record(self, key: str) -> Pod | None:
        """Return the record of a pod; None if there is no such pod."""
        uid = self._keys.get(key)
        pod = None if uid is None else self._objects["pods"].get(uid)
        if pod is None:
            return None
        namespace = self._namespaces.get(pod.namespace)
        services = sorted(
            (each for each in self._services_in.get(pod.namespace, {}).values() if _selects(each, pod)),
            key=lambda each: each.name,
        )
        owners = tuple(self._chain(pod))
        return Pod(
            uid=key,
            name=pod.name,
            namespace=pod.namespace,
            node=pod.node,
            service_account=pod.service_account,
            labels=pod.labels,
            namespace_uid="" if namespace is None else namespace.uid,
            namespace_labels=None if namespace is None else namespace.labels,
            owners=owners,
            services=tuple(PodObject("Service", each.name, each.uid, each.labels) for each in services[:MAX_SERVICES]),
            is_shortened=pod.is_shortened or len(services) > MAX_SERVICES,
        )

    def _chain(self, item: KubernetesObject) -> Iterator[PodObject]:
        for _ in range(MAX_OWNERS):
            reference = item.owner
            if reference is None:
                return
            known = self._owners.get(reference.uid)
            yield PodObject(reference.kind, reference.name, reference.uid, None if known is None else known.labels)
            if known is None:
                return
            item = known

    def _put_pod(self, pod: KubernetesObject, former: KubernetesObject | None) -> None:
        holder = self._keys.get(pod.key, pod.uid)
        # Anyone who may create pods can claim to be the mirror of a static pod: the first one holds the key.
        if holder == pod.uid or holder not in self._objects["pods"]:
            self._keys[pod.key] = pod.uid
            self._changed[pod.key] = None
        self._pods_in[pod.namespace].add(pod.uid)
        self._link(pod, former)

    def _pass_on(self, key: str) -> None:
        """Assign the key of a static pod whose mirror was deleted to another mirror that has it."""
        other = next((uid for uid, each in self._objects["pods"].items() if each.static_uid == key), None)
        if other is not None:
            self._keys[key] = other

    def _link(self, item: KubernetesObject, former: KubernetesObject | None) -> None:
        if former is not None and former.owner != item.owner:
            self._unlink(former)
        if item.owner is not None:
            self._owned[item.owner.uid].add(item.uid)

    def _unlink(self, item: KubernetesObject) -> None:
        if item.owner is None:
            return
        uid = item.owner.uid
        self._owned[uid].discard(item.uid)
        if not self._owned[uid]:
            del self._owned[uid]
            if uid in self._gone:
                self._drop_owner(uid)

    def _drop_owner(self, uid: str) -> None:
        self._gone.discard(uid)
        item = self._owners.pop(uid, None)
        if item is not None:
            self._unlink(item)

    def _drop_namespace(self, name: str) -> None:
        namespace = self._namespaces.get(name)
        if namespace is not None and name not in self._pods_in and namespace.uid not in self._objects["namespaces"]:
            del self._namespaces[name]

    def _pods_of(self, uid: str) -> Iterator[str]:
        """Yield the uids of the pods below an owner."""
        pending, seen = [uid], {uid}
        while pending:
            for child in self._owned.get(pending.pop(), ()):
                if child in self._objects["pods"]:
                    yield child
                elif child not in seen:
                    seen.add(child)
                    pending.append(child)

    def _mark(self, uids: Iterable[str]) -> None:
        for uid in uids:
            self._changed[self._objects["pods"][uid].key] = None

    def _mark_selected(self, namespace: str, services: Iterable[KubernetesObject | None]) -> None:
        pods = self._objects["pods"]
        for service in services:
            if service is not None:
                self._mark([uid for uid in self._pods_in.get(namespace, ()) if _selects(service, pods[uid])])


def _selects(service: KubernetesObject, pod: KubernetesObject) -> bool:
    return bool(service.selector) and set(service.selector) <= set(pod.labels)


_DIGEST_BYTES = 8
MAX_DELETED = 100_000
"""Deleted pods whose records are still in the topic; beyond it, the oldest are removed early."""


def digest(value: bytes) -> bytes:
    """Return a short digest of a record."""
    return blake2b(value, digest_size=_DIGEST_BYTES).digest()


class Reconciler:
    """The contents of the topic, and when records of deleted pods are removed."""

    def __init__(
        self, index: ClusterIndex, *, delay: float, cluster: str = "", most_deleted: int = MAX_DELETED
    ) -> None:
        """Begin with an empty topic. most_deleted: limit of the records of deleted pods that stay.

        delay: seconds for which such a record stays, so that late events still find it.
        """
        self.refused = 0
        """Pods without a record, because a name is out of range."""
        self._index = index
        self._cluster = cluster
        self._delay = delay
        self._most_deleted = most_deleted
        self._held: dict[str, bytes] = {}
        """By key, the digest of the record in the topic, including messages that were sent and have not arrived."""
        self._ends: dict[str, float] = {}
        """By key, when to remove the record; in order."""
        self._in_flight: set[str] = set()
        self._postponed: set[str] = set()
        """Keys in flight whose records have changed since."""

    def __len__(self) -> int:
        return len(self._held)

    def found(self, key: str, value: bytes | None) -> None:
        """Take a message of the topic that this process did not write."""
        if value is None:
            self._held.pop(key, None)
        else:
            self._held[key] = digest(value)
        self._index.mark_changed(key)

    def arrived(self, key: str) -> None:
        """Take that the broker has a message."""
        self._in_flight.discard(key)
        if key in self._postponed:
            self._postponed.discard(key)
            self._index.mark_changed(key)

    def failed(self, key: str) -> None:
        """Take that a message did not arrive."""
        # The topic's contents are unknown now, and no digest is empty.
        self._held[key] = b""
        self._postponed.add(key)
        self.arrived(key)

    def start(self) -> None:
        """Begin when the topic and the cluster are known: what only the topic has was deleted in between."""
        known = set(self._index.keys())
        for key in self._held:
            if key not in known:
                self._index.mark_changed(key)

    def plan(self, now: float, most: int) -> list[tuple[str, bytes | None]]:
        """Return what to write, at most so many messages; each is in flight until it has arrived or failed.

        now: a monotonic clock, s.
        """
        found: list[tuple[str, bytes | None]] = []
        for key in self._index.take_changed(most):
            if key in self._in_flight:
                self._postponed.add(key)
                continue
            pod = self._index.record(key)
            if pod is None:
                if key in self._held:
                    self._ends.setdefault(key, now + self._delay)
                continue
            self._ends.pop(key, None)
            try:
                value = encode_pod(replace(pod, cluster=self._cluster))
            except BadPod:
                self.refused += 1
                continue
            if self._held.get(key) != (new := digest(value)):
                self._held[key] = new
                found.append((key, value))
        found += [(key, None) for key in self._due(now, most - len(found))]
        self._in_flight.update(key for key, _ in found)
        return found

    def _due(self, now: float, most: int) -> list[str]:
        extra = len(self._ends) - self._most_deleted
        due = [
            key
            for index, (key, end) in enumerate(islice(self._ends.items(), max(most, 0)))
            if (end <= now or index < extra) and key not in self._in_flight
        ]
        for key in due:
            del self._ends[key]
            self._held.pop(key, None)
        return due
