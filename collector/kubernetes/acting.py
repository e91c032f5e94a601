"""Actions by the Kubernetes API: label and evict pods, isolate pods by a NetworkPolicy, cordon nodes.

All that is needed to undo an action is on the object itself: a label with the intent's id, and an annotation with the
time at which it ends. So any process that is elected later finds what is overdue, whatever became of this one.

An object is changed only in the version that was checked: each request names its uid and its resource version.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from collector.actions.effect import ActionRefused, TargetGone
from collector.kubernetes.api import ApiServer, RequestFailed
from foundation.quantities import from_rfc3339, iso8601_zulu
from foundation.text import is_like
from schemas.action import CLUSTER_NAMESPACES, ActionIntent, ClusterActionType

_LABELS: Mapping[ClusterActionType, str] = {
    "label": "lanner-action/labeled",
    "isolate": "lanner-action/isolated",
    "cordon": "lanner-action/cordoned",
}
_POD_UID, _POD = "lanner-action/pod-uid", "lanner-action/pod"
_CONTROL_PLANE = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")
_MIRROR = "kubernetes.io/config.mirror"
_NODES = "/api/v1/nodes"
_POLICIES = "/apis/networking.k8s.io/v1/networkpolicies"
_ATTEMPTS = 3
_MOST = "500"
_NOT_FOUND, _CONFLICT, _TOO_MANY = 404, 409, 429
_PATCHES = {"label": "/api/v1/pods", "cordon": _NODES, "isolate": _POLICIES}


@dataclass(frozen=True, slots=True)
class Held:
    """An action that lasts, as its object states it."""

    type: ClusterActionType
    id: str
    """The intent's."""
    ends: int
    """Wall clock, ns since the epoch; 0 if somebody removed it from the object."""
    path: str
    """The path of the object."""
    item: Mapping[str, Any]


class ClusterActions:
    """Does actions, and undoes them. All methods may raise RequestFailed."""

    def __init__(self, api: ApiServer, own_namespace: str, never_namespaces: tuple[str, ...] = ()) -> None:
        """Prepare; nothing is requested. never_namespaces: those whose pods are spared; `*` is any text."""
        self._api = api
        self._spared = (*CLUSTER_NAMESPACES, own_namespace, *never_namespaces)

    async def do(self, intent: ActionIntent, ends: int) -> str:
        """Do what an intent states, also if that was done already; return what was done, for people.

        Args:
            intent: for a pod or a node.
            ends: when it ends, wall clock, ns since the epoch.

        Raises:
            ActionRefused: it isn't done; the message is the reason.
            TargetGone: the pod or node no longer exists.
        """
        if intent.target == "node":
            return await self._cordon(intent, ends)
        if pattern := next((each for each in self._spared if is_like(intent.namespace, each)), ""):
            raise ActionRefused(f"pods of {pattern} are spared in this cluster")
        path = f"/api/v1/namespaces/{intent.namespace}/pods/{intent.pod}"
        if intent.type == "evict":
            return await self._evict(intent, path)
        await self._pod(intent, path)
        if intent.type == "isolate":
            await self._add_policy(intent, ends)
        await self._mark_pod(intent, path, ends)
        if intent.type == "isolate":
            return f"isolated by NetworkPolicy {_policy_name(intent.id)}, if the cluster's network enforces these"
        return f"labeled {_LABELS['label']}={intent.id}"

    async def held(self, type_: ClusterActionType) -> list[Held]:
        """Return the actions of a type that last, of all processes; of many, some of them."""
        label = _LABELS[type_]
        listed = await self._api.get(_PATCHES[type_], {"labelSelector": label, "limit": _MOST})
        found = []
        for item in _items(listed):
            about = _metadata(item)
            namespace, name = about.get("namespace"), about.get("name")
            base = _PATCHES[type_]
            if namespace:
                base, _, kind = base.rpartition("/")
                base = f"{base}/namespaces/{namespace}/{kind}"
            ends = from_rfc3339(str(_texts(about, "annotations").get(f"{label}-ends", ""))) or 0
            found.append(Held(type_, str(_texts(about, "labels").get(label, "")), ends, f"{base}/{name}", item))
        return found

    async def extend(self, held: Held, ends: int) -> None:
        """Make an action end at another time."""
        await self._patch(held.path, held.item, annotations={f"{_LABELS[held.type]}-ends": iso8601_zulu(ends)})

    async def undo(self, held: Held) -> str:
        """Undo an action; return what was done, for people. What is gone already is no error."""
        label = _LABELS[held.type]
        gone = {"labels": {label: None}, "annotations": {f"{label}-ends": None}}
        if held.type == "cordon":
            await self._patch(held.path, held.item, **gone, spec={"unschedulable": None})
            return "uncordoned"
        if held.type == "label":
            await self._patch(held.path, held.item, **gone)
            return "removed the label"
        about = _metadata(held.item)
        annotations = _texts(about, "annotations")
        pod = f"/api/v1/namespaces/{about.get('namespace')}/pods/{annotations.get(_POD, '-')}"
        try:
            item = await self._api.get(pod)
            # First, so that the policy is found again if this process ends in between.
            if _metadata(item).get("uid") == annotations.get(_POD_UID):
                await self._patch(pod, item, **gone)
        except RequestFailed as error:
            if error.failure.code != _NOT_FOUND:
                raise
        await self._api.write("DELETE", held.path, {"preconditions": {"uid": about.get("uid")}})
        return "deleted the NetworkPolicy"

    async def _pod(self, intent: ActionIntent, path: str) -> Mapping[str, Any]:
        item = await self._found(path, f"pod {intent.namespace}/{intent.pod}")
        about = _metadata(item)
        if about.get("uid") != intent.pod_uid:
            raise TargetGone("another pod has its name now")
        if _MIRROR in _texts(about, "annotations"):
            raise ActionRefused("the node's kubelet runs this static pod by itself")
        return item

    async def _mark_pod(self, intent: ActionIntent, path: str, ends: int) -> None:
        label = _label(intent)
        for attempt in range(_ATTEMPTS):
            item = await self._pod(intent, path)
            self._refuse_other(intent, item)
            marks = {"labels": {label: intent.id}, "annotations": {f"{label}-ends": iso8601_zulu(ends)}}
            try:
                await self._patch(path, item, **marks)
            except RequestFailed as error:
                if error.failure.code != _CONFLICT or attempt == _ATTEMPTS - 1:
                    raise
            else:
                return

    async def _add_policy(self, intent: ActionIntent, ends: int) -> None:
        """Create the policy, which selects the pod only once that has the label."""
        base = f"/apis/networking.k8s.io/v1/namespaces/{intent.namespace}/networkpolicies"
        item = await self._pod(intent, f"/api/v1/namespaces/{intent.namespace}/pods/{intent.pod}")
        self._refuse_other(intent, item)
        labels = _texts(_metadata(item), "labels")
        others = [
            str(_metadata(each).get("name"))
            for each in _items(await self._api.get(base, {"limit": _MOST}))
            if _allows(each.get("spec")) and _selects(each.get("spec"), labels)
        ]
        if others:
            # What one policy allows, no other one can forbid.
            raise ActionRefused(f"other NetworkPolicies allow the pod some traffic all the same: {', '.join(others)}")
        label = _label(intent)
        policy = {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {
                "name": _policy_name(intent.id),
                "labels": {label: intent.id, "app.kubernetes.io/managed-by": "lanner"},
                "annotations": {f"{label}-ends": iso8601_zulu(ends), _POD: intent.pod, _POD_UID: intent.pod_uid},
            },
            "spec": {"podSelector": {"matchLabels": {label: intent.id}}, "policyTypes": ["Ingress", "Egress"]},
        }
        try:
            await self._api.write("POST", base, policy)
        except RequestFailed as error:
            if error.failure.code != _CONFLICT:
                raise

    async def _evict(self, intent: ActionIntent, path: str) -> str:
        await self._pod(intent, path)
        eviction = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": intent.pod, "namespace": intent.namespace},
            "deleteOptions": {"preconditions": {"uid": intent.pod_uid}},
        }
        try:
            await self._api.write("POST", f"{path}/eviction", eviction)
        except RequestFailed as error:
            if error.failure.code == _TOO_MANY:
                raise ActionRefused(f"a PodDisruptionBudget doesn't allow it now: {error.failure.text}") from None
            if error.failure.code in (_NOT_FOUND, _CONFLICT):
                raise TargetGone("the pod ended before it was evicted") from None
            raise
        return "evicted; a pod without a controller is not started again"

    async def _cordon(self, intent: ActionIntent, ends: int) -> str:
        path, label = f"{_NODES}/{intent.node}", _label(intent)
        for attempt in range(_ATTEMPTS):
            item = await self._found(path, f"node {intent.node}")
            labels = _texts(_metadata(item), "labels")
            if any(each in labels for each in _CONTROL_PLANE):
                raise ActionRefused("it is a node of the control plane")
            is_ours = labels.get(label) == intent.id
            self._refuse_other(intent, item)
            if not is_ours and _spec(item).get("unschedulable"):
                raise ActionRefused("somebody else cordoned it already")
            others = _items(await self._api.get(_NODES, {"limit": _MOST}))
            if not any(_metadata(each).get("name") != intent.node and _takes_pods(each) for each in others):
                raise ActionRefused("it is the last node that is ready and takes pods")
            marks = {"labels": {label: intent.id}, "annotations": {f"{label}-ends": iso8601_zulu(ends)}}
            try:
                await self._patch(path, item, **marks, spec={"unschedulable": True})
            except RequestFailed as error:
                if error.failure.code != _CONFLICT or attempt == _ATTEMPTS - 1:
                    raise
            else:
                break
        return "cordoned; pods that run there go on"

    def _refuse_other(self, intent: ActionIntent, item: Mapping[str, Any]) -> None:
        other = _texts(_metadata(item), "labels").get(_label(intent))
        if other not in (None, intent.id):
            raise ActionRefused(f"it has the label of another action, {other}: extend that")

    async def _found(self, path: str, what: str) -> Mapping[str, Any]:
        try:
            item = await self._api.get(path)
        except RequestFailed as error:
            if error.failure.code == _NOT_FOUND:
                raise TargetGone(f"{what} no longer exists") from None
            raise
        return item if isinstance(item, dict) else {}

    async def _patch(
        self,
        path: str,
        item: Mapping[str, Any],
        *,
        labels: Mapping[str, str | None] | None = None,
        annotations: Mapping[str, str | None] | None = None,
        spec: Mapping[str, Any] | None = None,
    ) -> None:
        """Change an object that is still as it was read."""
        about = _metadata(item)
        metadata = {"uid": about.get("uid"), "resourceVersion": about.get("resourceVersion")}
        metadata |= {} if labels is None else {"labels": labels}
        metadata |= {} if annotations is None else {"annotations": annotations}
        await self._api.write("PATCH", path, {"metadata": metadata} | ({} if spec is None else {"spec": spec}))


def _policy_name(id_: str) -> str:
    return f"lanner-{id_}"


def _label(intent: ActionIntent) -> str:
    return next(label for name, label in _LABELS.items() if name == intent.type)


def _metadata(item: object) -> Mapping[str, Any]:
    found = item.get("metadata") if isinstance(item, dict) else None
    return found if isinstance(found, dict) else {}


def _texts(about: Mapping[str, Any], part: str) -> Mapping[str, Any]:
    found = about.get(part)
    return found if isinstance(found, dict) else {}


def _spec(item: Mapping[str, Any]) -> Mapping[str, Any]:
    return _texts(item, "spec")


def _items(listed: object) -> list[dict[str, Any]]:
    found = listed.get("items") if isinstance(listed, dict) else None
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _takes_pods(node: Mapping[str, Any]) -> bool:
    """Return whether ordinary pods can be scheduled on a node."""
    conditions = _texts(node, "status").get("conditions") or ()
    is_ready = any(each.get("type") == "Ready" and each.get("status") == "True" for each in conditions)
    labels = _texts(_metadata(node), "labels")
    return is_ready and not _spec(node).get("unschedulable") and not any(each in labels for each in _CONTROL_PLANE)


def _allows(spec: object) -> bool:
    return isinstance(spec, dict) and bool(spec.get("ingress") or spec.get("egress"))


def _selects(spec: Any, labels: Mapping[str, Any]) -> bool:
    """Return whether a policy selects a pod with these labels; an operator that isn't known selects it.

    Source: LabelSelector of apimachinery, meta/v1.
    """
    selector = spec.get("podSelector") or {}
    if any(labels.get(name) != value for name, value in (selector.get("matchLabels") or {}).items()):
        return False
    for each in selector.get("matchExpressions") or ():
        name, values = each.get("key"), each.get("values") or ()
        is_met = {
            "In": labels.get(name) in values,
            "NotIn": labels.get(name) not in values,
            "Exists": name in labels,
            "DoesNotExist": name not in labels,
        }
        if not is_met.get(each.get("operator"), True):
            return False
    return True
