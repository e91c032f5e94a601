"""Objects of the Kubernetes API: JSON in, the few facts that records of pods need out.

Only the attributes named here are decoded; everything else in an object, such as environment variables, annotations
and statuses, is skipped in the bytes and never becomes a value in this process.
"""

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import msgspec

from foundation.errors import LannerError
from schemas.pod import MAX_LABELS, Labels

_MAX_SELECTORS = MAX_LABELS
_STATIC_POD = re.compile(r"[0-9a-f]{32}")
"""The uid that a kubelet gives a static pod. No other pod has one of this form."""


class UnusableAnswer(LannerError, ValueError):
    """The API server's answer is not what the API promises."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind of object that is listed and watched."""

    name: str
    """As in its URL: pods, replicasets."""
    kind: str
    path: str
    is_whole: bool = False
    """True if its specification is needed; of the others, only the metadata is requested."""


RESOURCES: Mapping[str, Resource] = MappingProxyType(
    {
        each.name: each
        for each in (
            Resource("namespaces", "Namespace", "/api/v1/namespaces"),
            Resource("deployments", "Deployment", "/apis/apps/v1/deployments"),
            Resource("replicasets", "ReplicaSet", "/apis/apps/v1/replicasets"),
            Resource("replicationcontrollers", "ReplicationController", "/api/v1/replicationcontrollers"),
            Resource("jobs", "Job", "/apis/batch/v1/jobs"),
            Resource("services", "Service", "/api/v1/services", is_whole=True),
            Resource("pods", "Pod", "/api/v1/pods", is_whole=True),
        )
    }
)
"""All kinds. Stateful sets, daemon sets and cron jobs are named by what they own, so they need not be watched."""


@dataclass(frozen=True, slots=True)
class Owner:
    """A reference to a controller."""

    kind: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class KubernetesObject:
    """An object of any kind, reduced to what records need."""

    uid: str
    name: str
    namespace: str = ""
    labels: Labels = ()
    is_shortened: bool = False
    """True if it has more labels than are stored."""
    owner: Owner | None = None
    """Its controller."""
    node: str = ""
    service_account: str = ""
    static_uid: str = ""
    """For the mirror of a static pod, the pod's own uid, which is in its cgroup's name."""
    selector: Labels = ()
    """For a service, the labels of its pods; empty if it selects none."""

    @property
    def key(self) -> str:
        """The uid of a pod as containers have it."""
        return self.static_uid or self.uid


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list."""

    items: tuple[KubernetesObject, ...]
    version: str
    """The list's resourceVersion, from which a watch can start."""
    continues: str
    """The token of the next page; empty for the last one."""


class ApiStatus(msgspec.Struct, frozen=True):
    """A failure that the API server reports."""

    code: int = 0
    message: str = ""


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One line of a watch."""

    type: str
    """ADDED, MODIFIED, DELETED, BOOKMARK or ERROR."""
    version: str = ""
    item: KubernetesObject | None = None
    status: ApiStatus | None = None


class _Annotations(msgspec.Struct):
    mirror: str = msgspec.field(name="kubernetes.io/config.mirror", default="")


class _OwnerReference(msgspec.Struct):
    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool | None = None


class _Metadata(msgspec.Struct):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    version: str = msgspec.field(name="resourceVersion", default="")
    labels: dict[str, str] | None = None
    annotations: _Annotations | None = None
    owners: list[_OwnerReference] | None = msgspec.field(name="ownerReferences", default=None)


class _Spec(msgspec.Struct):
    node: str | None = msgspec.field(name="nodeName", default=None)
    service_account: str | None = msgspec.field(name="serviceAccountName", default=None)
    selector: dict[str, str] | None = None


class _Item(msgspec.Struct):
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)
    spec: _Spec | None = None


class _ListMetadata(msgspec.Struct):
    version: str = msgspec.field(name="resourceVersion", default="")
    continues: str = msgspec.field(name="continue", default="")


class _List(msgspec.Struct):
    metadata: _ListMetadata
    items: list[_Item] | None = None


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


_LIST = msgspec.json.Decoder(_List)
_EVENT = msgspec.json.Decoder(_Event)
_ITEM = msgspec.json.Decoder(_Item)
_STATUS = msgspec.json.Decoder(ApiStatus)


def decode_page(data: bytes) -> Page:
    """Decode one page of a list. Raises UnusableAnswer."""
    try:
        row = _LIST.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnusableAnswer(f"not a list: {error}") from None
    if not row.metadata.version:
        raise UnusableAnswer("a list without resourceVersion")
    items = tuple(reduced(each) for each in row.items or ())
    return Page(items, row.metadata.version, row.metadata.continues)


def decode_event(line: bytes) -> WatchEvent:
    """Decode one line of a watch. Raises UnusableAnswer."""
    try:
        event = _EVENT.decode(line)
        if event.type == "ERROR":
            return WatchEvent("ERROR", status=_STATUS.decode(event.object))
        row = _ITEM.decode(event.object)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnusableAnswer(f"not a watch event: {error}") from None
    item = None if event.type == "BOOKMARK" else reduced(row)
    return WatchEvent(event.type, row.metadata.version, item)


def decode_status(data: bytes) -> ApiStatus:
    """Decode the body of a failed request; code 0 if it is not the API server's."""
    try:
        return _STATUS.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ApiStatus()


def reduced(row: _Item) -> KubernetesObject:
    """Return the facts of an object."""
    about, spec = row.metadata, row.spec or _Spec()
    controller = next((each for each in about.owners or () if each.controller), None)
    mirror = "" if about.annotations is None else about.annotations.mirror
    is_static = controller is not None and controller.kind == "Node" and _STATIC_POD.fullmatch(mirror) is not None
    return KubernetesObject(
        uid=about.uid,
        name=about.name,
        namespace=sys.intern(about.namespace),
        labels=_labels(about.labels),
        is_shortened=len(about.labels or ()) > MAX_LABELS,
        owner=None if controller is None else Owner(sys.intern(controller.kind), controller.name, controller.uid),
        node=sys.intern(spec.node or ""),
        service_account=sys.intern(spec.service_account or ""),
        static_uid=mirror if is_static else "",
        selector=_selector(spec.selector),
    )


def _labels(labels: dict[str, str] | None) -> Labels:
    # The pods of a deployment have the same labels, so most texts exist once.
    pairs = sorted((labels or {}).items())[:MAX_LABELS]
    return tuple((sys.intern(name), sys.intern(value)) for name, value in pairs)


def _selector(selector: dict[str, str] | None) -> Labels:
    # A selector that is cut would select other pods, so one that is too long selects none.
    return () if selector is None or len(selector) > _MAX_SELECTORS else tuple(sorted(selector.items()))
