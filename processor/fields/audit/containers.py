"""Fields about the containers of a pod in a request."""

from collections.abc import Callable, Iterator
from typing import Any

from processor.fields.audit.pointer import ABSENT, as_text, as_texts, elements, value_at, values_below

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
