"""The Kubernetes API server's facts about a pod: the record of the topic `pods`.

JSON, so that any tool can show it. Users of the cluster choose names and labels, so all of it is bounded here, for
writers and readers alike.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from foundation.errors import LannerError

Labels = tuple[tuple[str, str], ...]

MAX_RECORD_BYTES = 32 << 10
MAX_LABELS = 64
MAX_OWNERS = 4
MAX_SERVICES = 16
_MAX_TEXT = 512
"""A label's key has at most 317 characters, and every name at most 253. Source: Kubernetes, object names and labels."""
_FEWER_LABELS = (MAX_LABELS, 16, 4, 0)


class BadPod(LannerError, ValueError):
    """The bytes are not a record of a pod, or a value in it is out of range."""


@dataclass(frozen=True, slots=True)
class PodObject:
    """An owner of a pod, or a service that selects it."""

    kind: str
    name: str
    uid: str
    labels: Labels | None = None
    """None if they are not known."""


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod with its owners, its namespace and its services."""

    uid: str
    """As kubelets use it in cgroups: of a static pod the hash of its configuration, not the uid of its mirror."""
    name: str
    namespace: str
    cluster: str = ""
    """Name of the cluster, as configured for the service that wrote the record."""
    node: str = ""
    service_account: str = ""
    labels: Labels = ()
    namespace_uid: str = ""
    namespace_labels: Labels | None = None
    """None if the namespace is not known."""
    owners: tuple[PodObject, ...] = ()
    """Its controller, the controller of that, and so on."""
    services: tuple[PodObject, ...] = ()
    """Ordered by name."""
    is_shortened: bool = False
    """True if labels or services were left out because there were too many."""

    def owner(self, kind: str) -> PodObject | None:
        """Return the nearest owner of a kind, such as ReplicaSet; None if there is none."""
        return next((each for each in self.owners if each.kind == kind), None)


def encode_pod(pod: Pod) -> bytes:
    """Encode a record; labels and services beyond the limits are left out. Raises BadPod if a name is out of range."""
    bounded = replace(
        pod,
        owners=pod.owners[:MAX_OWNERS],
        services=pod.services[:MAX_SERVICES],
        is_shortened=pod.is_shortened or len(pod.owners) > MAX_OWNERS or len(pod.services) > MAX_SERVICES,
    )
    for most in _FEWER_LABELS:
        data = _encoded(_with_labels(bounded, most))
        if len(data) <= MAX_RECORD_BYTES:
            decode_pod(data)
            return data
    raise BadPod(f"{len(data)} bytes; {MAX_RECORD_BYTES} are allowed")


def decode_pod(data: bytes) -> Pod:
    """Decode and check a record. Raises BadPod."""
    if len(data) > MAX_RECORD_BYTES:
        raise BadPod(f"{len(data)} bytes; {MAX_RECORD_BYTES} are allowed")
    try:
        row = json.loads(data)
    except (ValueError, RecursionError):
        raise BadPod("not JSON") from None
    if not isinstance(row, dict):
        raise BadPod("not a JSON object")
    if not _text(row, "uid"):
        raise BadPod("without uid")
    return Pod(
        **{name: _text(row, name) for name in _TEXTS},
        labels=_labels(row, "labels") or (),
        namespace_labels=_labels(row, "namespace_labels"),
        owners=_objects(row, "owners", MAX_OWNERS),
        services=_objects(row, "services", MAX_SERVICES),
        is_shortened=row.get("is_shortened") is True,
    )


_TEXTS = tuple(each.name for each in fields(Pod) if each.type is str)


def _with_labels(pod: Pod, most: int) -> Pod:
    def fewer(labels: Labels | None) -> Labels | None:
        return labels if labels is None else labels[:most]

    def shortened(objects: tuple[PodObject, ...]) -> tuple[PodObject, ...]:
        return tuple(replace(each, labels=fewer(each.labels)) for each in objects)

    found = replace(
        pod,
        labels=pod.labels[:most],
        namespace_labels=fewer(pod.namespace_labels),
        owners=shortened(pod.owners),
        services=shortened(pod.services),
    )
    return found if found == pod else replace(found, is_shortened=True)


def _encoded(pod: Pod) -> bytes:
    row: dict[str, Any] = {name: getattr(pod, name) for name in _TEXTS}
    row["labels"] = dict(pod.labels)
    row["namespace_labels"] = None if pod.namespace_labels is None else dict(pod.namespace_labels)
    for name, objects in (("owners", pod.owners), ("services", pod.services)):
        row[name] = [
            {"kind": each.kind, "name": each.name, "uid": each.uid}
            | ({} if each.labels is None else {"labels": dict(each.labels)})
            for each in objects
        ]
    if pod.is_shortened:
        row["is_shortened"] = True
    return json.dumps(
        {name: value for name, value in row.items() if value or value == {}}, separators=(",", ":")
    ).encode()


def _objects(row: Mapping[str, Any], name: str, most: int) -> tuple[PodObject, ...]:
    values = row.get(name, [])
    if not isinstance(values, list) or len(values) > most or not all(isinstance(each, dict) for each in values):
        raise BadPod(f"{name} is not a list of at most {most} objects")
    return tuple(
        PodObject(_text(each, "kind"), _text(each, "name"), _text(each, "uid"), _labels(each, "labels"))
        for each in values
    )


def _labels(row: Mapping[str, Any], name: str) -> Labels | None:
    value = row.get(name)
    if value is None:
        return None
    if not isinstance(value, dict) or len(value) > MAX_LABELS:
        raise BadPod(f"{name} is not an object of at most {MAX_LABELS} labels")
    return tuple((_checked(name, key), _checked(name, each)) for key, each in value.items())


def _text(row: Mapping[str, Any], name: str) -> str:
    return _checked(name, row.get(name, ""))


def _checked(name: str, value: Any) -> str:
    if not isinstance(value, str) or len(value) > _MAX_TEXT:
        raise BadPod(f"{name} is not a text of at most {_MAX_TEXT} characters")
    return value
