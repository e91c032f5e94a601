"""Reads a container's facts from its OCI bundle: pure functions over parsed JSON.

The runtime writes config.json before it starts the container's first process, so these facts are known before the first
event. It lacks what only the runtime knows: the start time, the digest and, except with CRI-O, labels and address.
"""

import json
from collections.abc import Mapping
from dataclasses import fields, replace

from collector.containers.values import (
    Json,
    bounded_labels,
    bounded_mounts,
    is_image_id,
    items,
    normalized,
    object_of,
    objects,
    split_image,
    text,
    texts,
)
from collector.processes.container_names import ContainerName
from schemas.batch import Container, Mount

MOBY = "moby"
"""Docker's namespace in containerd."""
FACTS = tuple(each.name for each in fields(Container))

_CRI = "io.kubernetes.cri."
_CRIO = "io.kubernetes.cri-o."
_SANDBOX = "sandbox"
_PROPAGATIONS = frozenset({"private", "shared", "slave", "unbindable"})


def container_from(name: ContainerName, config: Json) -> Container:
    """Build a container's facts from its cgroup's and from the bundle's config.json.

    Source: the annotations of containerd's CRI plugin, CRI-O and Podman; the rest is in the OCI runtime specification.
    """
    annotations = object_of(config, "annotations")
    facts = _of_any_runtime(name, config)
    if text(annotations, f"{_CRIO}ContainerType") is not None:
        return _with_crio_annotations(facts, annotations)
    if text(annotations, f"{_CRI}container-type") is not None:
        return _with_cri_annotations(facts, annotations)
    return facts


def of_containerd(facts: Container, namespace: str) -> Container:
    """Return the facts of a container in one of containerd's namespaces, whatever its cgroup is called.

    Without CRI the container's id is the name that somebody gave it, unless nerdctl's annotation has another one.
    Docker knows names and users, and leaves them out of its bundles.
    """
    if namespace == MOBY:
        return replace(facts, type="docker", user=None)
    return replace(facts, type="containerd", name=facts.name or facts.full_id)


def completed(facts: Container, least: Container | None) -> Container:
    """Return a container's facts with those of another source for what this one doesn't know."""
    if least is None:
        return facts
    missing = {
        name: value for name in FACTS if getattr(facts, name) is None and (value := getattr(least, name)) is not None
    }
    return replace(facts, **missing) if missing else facts


def with_storage_record(container: Container, record: Json) -> Container:
    """Add the name and the image of a container that Podman made, which its config.json lacks.

    The record is its entry in containers/storage's overlay-containers/containers.json.

    Source: Container in github.com/containers/storage, with the metadata that libpod adds.
    """
    metadata = parsed_object(text(record, "metadata"))
    names = texts(record, "names")
    return replace(
        with_image(container, text(metadata, "image-name")),
        name=names[0] if names else text(metadata, "name"),
        image_id=text(metadata, "image-id") or text(record, "image"),
    )


def parsed_object(value: str | bytes | None) -> Json:
    """Parse a JSON object; return an empty one if the text isn't one."""
    parsed = _parsed(value)
    return parsed if isinstance(parsed, dict) else {}


def parsed_records(value: bytes) -> list[Json]:
    """Parse a JSON list of objects; return an empty one if the text isn't one."""
    parsed = _parsed(value)
    return [each for each in parsed if isinstance(each, dict)] if isinstance(parsed, list) else []


def with_image(container: Container, reference: str | None) -> Container:
    """Add an image's name. A reference that is only an id names no repository."""
    if not reference or is_image_id(reference):
        return container
    full = normalized(reference)
    parts = split_image(full)
    return replace(
        container, image=full, image_repository=parts.repository, image_tag=parts.tag, image_digest=parts.digest
    )


def _parsed(value: str | bytes | None) -> object:
    try:
        return json.loads(value or "null")
    except (ValueError, RecursionError):
        return None


def _of_any_runtime(name: ContainerName, config: Json) -> Container:
    mounts, is_truncated = bounded_mounts(
        _mount(each) for each in objects(config, "mounts") if text(each, "type") == "bind"
    )
    return Container(
        id=name.id,
        full_id=name.full_id,
        type=name.type,
        privileged=_is_privileged(config),
        user=_user(config),
        host_pid=_is_host_namespace(config, "pid"),
        host_network=_is_host_namespace(config, "network"),
        host_ipc=_is_host_namespace(config, "ipc"),
        mounts=mounts if config else None,
        pod_uid=name.pod_uid,
        is_truncated=is_truncated,
    )


def _with_cri_annotations(container: Container, annotations: Json) -> Container:
    is_sandbox = text(annotations, f"{_CRI}container-type") == _SANDBOX
    pod_name = text(annotations, f"{_CRI}sandbox-name")
    return replace(
        with_image(container, text(annotations, f"{_CRI}{'podsandbox.' if is_sandbox else ''}image-name")),
        name=pod_name if is_sandbox else text(annotations, f"{_CRI}container-name"),
        pod_name=pod_name,
        pod_uid=text(annotations, f"{_CRI}sandbox-uid") or container.pod_uid,
        pod_namespace=text(annotations, f"{_CRI}sandbox-namespace"),
        pod_sandbox_id=text(annotations, f"{_CRI}sandbox-id"),
    )


def _with_crio_annotations(container: Container, annotations: Json) -> Container:
    is_sandbox = text(annotations, f"{_CRIO}ContainerType") == _SANDBOX
    metadata = parsed_object(text(annotations, f"{_CRIO}Metadata"))
    labels = bounded_labels(parsed_object(text(annotations, f"{_CRIO}Labels")))
    requested = text(annotations, f"{_CRIO}Image")
    named = requested if requested and not is_image_id(requested) else text(annotations, f"{_CRIO}ImageName")
    digests = (text(annotations, f"{_CRIO}ImageRepoDigests") or "").split()
    image = with_image(container, named)
    return replace(
        image,
        name=text(metadata, "name"),
        image_id=text(annotations, f"{_CRIO}ImageRef"),
        image_digest=image.image_digest or (split_image(digests[0]).digest if digests else None),
        ip=text(annotations, f"{_CRIO}IP.0"),
        labels=tuple(sorted(labels.items())),
        pod_name=text(annotations, "io.kubernetes.pod.name"),
        pod_uid=text(annotations, "io.kubernetes.pod.uid") or container.pod_uid,
        pod_namespace=text(annotations, "io.kubernetes.pod.namespace"),
        pod_sandbox_id=text(annotations, f"{_CRIO}SandboxID"),
        pod_labels=pod_labels(labels) if is_sandbox else None,
    )


def pod_labels(
    labels: Mapping[str, str], without: tuple[str, ...] = ("io.kubernetes.",)
) -> tuple[tuple[str, str], ...]:
    """Return the labels that somebody gave the pod, without those that the kubelet adds for itself."""
    return tuple(sorted((key, value) for key, value in labels.items() if not key.startswith(without)))


def _is_privileged(config: Json) -> bool | None:
    """Return whether a container may use every device and sees all of /proc and /sys, as privileged ones do."""
    linux = object_of(config, "linux")
    if not linux:
        return None
    devices = objects(object_of(linux, "resources"), "devices")
    may_use_all = any(each.get("allow") is True and not each.get("type") and "major" not in each for each in devices)
    return may_use_all and not items(linux, "maskedPaths") and not items(linux, "readonlyPaths")


def _user(config: Json) -> str | None:
    uid = object_of(object_of(config, "process"), "user").get("uid")
    return str(uid) if type(uid) is int else None


def _is_host_namespace(config: Json, kind: str) -> bool | None:
    """Return whether a container uses the host's namespace; None if it joins one by path, which may be the host's."""
    namespaces = objects(object_of(config, "linux"), "namespaces")
    if not namespaces:
        return None
    for each in namespaces:
        if text(each, "type") == kind:
            return None if text(each, "path") else False
    return True


def _mount(mount: Json) -> Mount:
    options = texts(mount, "options")
    propagation = next((each for each in options if each in _PROPAGATIONS or each[1:] in _PROPAGATIONS), "")
    return Mount(
        source=text(mount, "source") or "",
        dest=text(mount, "destination") or "",
        mode="",
        rw="ro" not in options,
        propagation=propagation if propagation in _PROPAGATIONS else propagation[1:],
    )
