"""The fields of Kubernetes audit events: their names and meanings are those of Falco's k8saudit plugin.

Three fields follow the plugin's documentation, because its code reads other places than documented: ka.sourceips,
eff_run_as_user and eff_run_as_group of containers.
"""

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qsl

from processor.fields.json.parsing import ABSENT, as_text, as_texts, elements, value_at, values_below

CONTAINER_LISTS = ("containers", "initContainers", "ephemeralContainers")
_SPEC = ("requestObject", "spec")
_SECURITY = "securityContext"

Texts = tuple[str, ...]
Read = Callable[[Any, str, int | None], Texts]
"""Reads a field of a document, for a list of containers, of all or of the one at a position."""


def _plain(*keys: str) -> Read:
    return lambda document, which, index: as_texts(values_below(document, (*_SPEC, which, *keys), index))


def _joined(key: str) -> Read:
    def read(document: Any, which: str, index: int | None) -> Texts:
        lists = values_below(document, (*_SPEC, which, key), index)
        return tuple(" ".join(as_texts(words)) for words in lists if isinstance(words, list))

    return read


def _repositories(document: Any, which: str, index: int | None) -> Texts:
    return tuple(map(repository, as_texts(values_below(document, (*_SPEC, which, "image"), index))))


def repository(image: str) -> str:
    """Return an image without tag and digest; as in Falco, everything from the first colon on is left out."""
    return image.partition(":")[0].partition("@")[0]


def _ports(document: Any, which: str, index: int | None) -> Texts:
    def of(port: Any) -> Any:
        host = value_at(port, ("hostPort",))
        return value_at(port, ("containerPort",)) if host is ABSENT else host

    lists = values_below(document, (*_SPEC, which, "ports"), index)
    return as_texts(of(port) for ports in lists for port in elements(ports))


def _capabilities(document: Any, which: str, index: int | None) -> Texts:
    lists = values_below(document, (*_SPEC, which, _SECURITY, "capabilities", "add"), index)
    return as_texts(name for names in lists for name in elements(names))


def _effective(key: str) -> Read:
    def read(document: Any, which: str, index: int | None) -> Texts:
        of_pod = as_text(value_at(document, (*_SPEC, _SECURITY, key))) or "0"
        return tuple(
            as_text(value_at(each, (_SECURITY, key))) or of_pod for each in _containers(document, which, index)
        )

    return read


def _containers(document: Any, which: str, index: int | None) -> Iterator[Any]:
    found = elements(value_at(document, (*_SPEC, which)))
    yield from found if index is None else found[index : index + 1]


CONTAINER_FIELDS: dict[str, Read] = {
    "name": _plain("name"),
    "image": _plain("image"),
    "image.repository": _repositories,
    "command": _joined("command"),
    "args": _joined("args"),
    "privileged": _plain(_SECURITY, "privileged"),
    "allow_privilege_escalation": _plain(_SECURITY, "allowPrivilegeEscalation"),
    "read_only_fs": _plain(_SECURITY, "readOnlyRootFilesystem"),
    "run_as_user": _plain(_SECURITY, "runAsUser"),
    "eff_run_as_user": _effective("runAsUser"),
    "run_as_group": _plain(_SECURITY, "runAsGroup"),
    "eff_run_as_group": _effective("runAsGroup"),
    "proc_mount": _plain(_SECURITY, "procMount"),
    "add_capabilities": _capabilities,
    "host_port": _ports,
}
"""By the last part of the field's name."""


Value = str | tuple[str, ...] | None
Reader = Callable[[Any], Value]
_MAX_PARAMETERS = 10_000

_TEXTS = {
    "ka.auditid": ("auditID",),
    "ka.stage": ("stage",),
    "ka.auth.decision": ("annotations", "authorization.k8s.io/decision"),
    "ka.auth.reason": ("annotations", "authorization.k8s.io/reason"),
    "ka.auth.openshift.decision": ("annotations", "authentication.openshift.io/decision"),
    "ka.auth.openshift.username": ("annotations", "authentication.openshift.io/username"),
    "ka.validations.admission.policy.failure": ("annotations", "validation.policy.admission.k8s.io/validation_failure"),
    "ka.security.pod.violations": ("annotations", "pod-security.kubernetes.io/audit-violations"),
    "ka.user.name": ("user", "username"),
    "ka.impuser.name": ("impersonatedUser", "username"),
    "ka.verb": ("verb",),
    "ka.uri": ("requestURI",),
    "ka.target.name": ("objectRef", "name"),
    "ka.target.namespace": ("objectRef", "namespace"),
    "ka.target.resource": ("objectRef", "resource"),
    "ka.target.subresource": ("objectRef", "subresource"),
    "ka.req.binding.role": ("requestObject", "roleRef", "name"),
    "ka.req.configmap.name": ("objectRef", "name"),
    "ka.req.configmap.obj": ("requestObject", "data"),
    "ka.req.container.image": ("requestObject", "spec", "containers", "0", "image"),
    "ka.req.container.host_network": ("requestObject", "spec", "hostNetwork"),
    "ka.req.pod.host_ipc": ("requestObject", "spec", "hostIPC"),
    "ka.req.pod.host_network": ("requestObject", "spec", "hostNetwork"),
    "ka.req.pod.host_pid": ("requestObject", "spec", "hostPID"),
    "ka.req.pod.run_as_user": ("requestObject", "spec", "securityContext", "runAsUser"),
    "ka.req.pod.run_as_group": ("requestObject", "spec", "securityContext", "runAsGroup"),
    "ka.req.pod.fs_group": ("requestObject", "spec", "securityContext", "fsGroup"),
    "ka.req.service.type": ("requestObject", "spec", "type"),
    "ka.resp.name": ("responseObject", "metadata", "name"),
    "ka.response.code": ("responseStatus", "code"),
    "ka.response.reason": ("responseStatus", "reason"),
    "ka.useragent": ("userAgent",),
    "ka.cluster.name": ("annotations", "cluster_name"),
}
"""Fields that are one value."""
_LISTS = {
    "ka.user.groups": ("user", "groups"),
    "ka.sourceips": ("sourceIPs",),
    "ka.req.binding.subjects": ("requestObject", "subjects"),
    "ka.req.role.rules": ("requestObject", "rules"),
    "ka.req.pod.supplemental_groups": ("requestObject", "spec", "securityContext", "supplementalGroups"),
    "ka.req.service.ports": ("requestObject", "spec", "ports"),
}
"""Fields that are the elements of one array; an index takes one of them."""
_OF_RULES = ("apiGroups", "nonResourceURLs", "verbs", "resources")
_OF_VOLUMES = {
    "ka.req.pod.volumes.hostpath": ("hostPath", "path"),
    "ka.req.pod.volumes.flexvolume_driver": ("flexVolume", "driver"),
}
_SUBJECTS = {
    "ka.req.binding.subjects.user_names": "User",
    "ka.req.binding.subjects.serviceaccount_names": "ServiceAccount",
    "ka.req.binding.subjects.group_names": "Group",
}
_NAMESPACED_SUBJECTS = "ka.req.binding.subjects.serviceaccount_ns_names"
_VOLUMES = ("requestObject", "spec", "volumes")
_PODS = "ka.req.pod."


def reader(name: str, argument: str | None = None) -> Reader:
    """Return a function from an audit event to a field's value, None if it is missing. Raises KeyError for no field."""
    if name in _TEXTS:
        keys = _TEXTS[name]
        return lambda event: as_text(value_at(event, keys))
    index = int(argument) if argument is not None and argument.isdecimal() else None
    if name in _LISTS:
        return _list_reader(_LISTS[name], index)
    which, _, field = name.removeprefix(_PODS).partition(".")
    if which in CONTAINER_LISTS:
        read = CONTAINER_FIELDS[field]
        return lambda event: read(event, which, index)
    if name in _SUBJECTS:
        kind = _SUBJECTS[name]
        return lambda event: as_texts(subject["name"] for subject in _subjects(event, kind))
    if name in _OF_VOLUMES:
        path = (*_VOLUMES, *_OF_VOLUMES[name])
        return lambda event: as_texts(values_below(event, path, index))
    if name.startswith("ka.req.role.rules.") and (part := name.rpartition(".")[2]) in _OF_RULES:
        return lambda event: _of_rules(event, part, index)
    return _SPECIAL[name](argument, index)


def _list_reader(keys: tuple[str, ...], index: int | None) -> Reader:
    def read(event: Any) -> Value:
        found = elements(value_at(event, keys))
        return as_texts(found if index is None else found[index : index + 1])

    return read


def _of_rules(event: Any, part: str, index: int | None) -> Value:
    lists = values_below(event, ("requestObject", "rules", part), index)
    return as_texts(value for values in lists for value in elements(values))


def _subjects(event: Any, kind: str) -> list[dict[str, Any]]:
    subjects = elements(value_at(event, ("requestObject", "subjects")))
    return [each for each in subjects if isinstance(each, dict) and each.get("kind") == kind and "name" in each]


def _namespaced(event: Any) -> Value:
    found = [each for each in _subjects(event, "ServiceAccount") if "namespace" in each]
    return tuple(f"{as_text(each['namespace'])}:{as_text(each['name'])}" for each in found)


def _parameter(event: Any, name: str) -> Value:
    query = (as_text(value_at(event, ("requestURI",))) or "").partition("?")[2].partition("#")[0]
    try:
        found = parse_qsl(query, keep_blank_values=True, max_num_fields=_MAX_PARAMETERS)
    except ValueError:
        return None
    return next((value for key, value in found if key == name), None)


def _pod_name(event: Any) -> Value:
    target = value_at(event, ("objectRef",))
    if not isinstance(target, dict) or target.get("resource") != "pods" or target.get("subresource"):
        return None
    return as_text(value_at(event, ("responseObject", "metadata", "name")))


def _first_repository(event: Any) -> Value:
    image = as_text(value_at(event, _TEXTS["ka.req.container.image"]))
    return None if image is None else repository(image)


def _is_privileged(event: Any) -> Value:
    containers = value_at(event, ("requestObject", "spec", "containers"))
    if not isinstance(containers, list):
        return None
    return "true" if "true" in CONTAINER_FIELDS["privileged"](event, "containers", None) else "false"


def _mounts(event: Any, path: str) -> Value:
    if not isinstance(value_at(event, _VOLUMES), list):
        return None
    paths = as_texts(values_below(event, (*_VOLUMES, "hostPath", "path")))
    found = any(each == path or (path.endswith("*") and each.startswith(path[:-1])) for each in paths)
    return "true" if found else "false"


def _volume_types(event: Any, index: int | None) -> Value:
    found = elements(value_at(event, _VOLUMES))
    chosen = found if index is None else found[index : index + 1]
    return tuple(key for volume in chosen if isinstance(volume, dict) for key in volume if key != "name")


_SPECIAL: dict[str, Callable[[str | None, int | None], Reader]] = {
    _NAMESPACED_SUBJECTS: lambda _argument, _index: _namespaced,
    "ka.uri.param": lambda argument, _index: lambda event: _parameter(event, argument or ""),
    "ka.target.pod.name": lambda _argument, _index: _pod_name,
    "ka.req.binding.subject.has_name": lambda _argument, _index: lambda _event: "true",
    "ka.req.container.image.repository": lambda _argument, _index: _first_repository,
    "ka.req.container.privileged": lambda _argument, _index: _is_privileged,
    "ka.req.volume.hostpath": lambda argument, _index: lambda event: _mounts(event, argument or ""),
    "ka.req.pod.volumes.volume_type": lambda _argument, index: lambda event: _volume_types(event, index),
}
"""By field, from its argument and index to its reader."""
