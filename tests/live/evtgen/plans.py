"""From a case to what the actor has to do for it, and where."""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from tests.conformance.cases import Case
from tests.live.evtgen.generated import GENERATED
from tests.live.evtgen.system_calls import Unplayable, call_words, host_and_port

PROGRAMS = "/mnt/acts"
"""Where a stage has the actor under the names of the processes."""

Users = Mapping[str, tuple[int, int]]
"""uid and gid by name."""

_PROCESS_KEYS = {"name", "exe", "args", "env", "user"}
_SOCKET_TYPES = {"tcp4": "SOCK_STREAM", "tcp6": "SOCK_STREAM", "udp4": "SOCK_DGRAM", "udp6": "SOCK_DGRAM"}
_REFERENCED = re.compile(r"\$\{\s*([\w-]+)")


class Where(Enum):
    """A stage: this host, or a container of one kind."""

    HOST = "host"
    PRIVILEGED = "privileged container"
    UNPRIVILEGED = "unprivileged container"


@dataclass(frozen=True, slots=True)
class Plan:
    """A case that can be carried out."""

    case_id: str
    where: Where
    script: tuple[tuple[str, ...], ...]
    parallel: bool
    """It sleeps, so others continue in parallel."""
    programs: frozenset[str]
    addresses: frozenset[str]
    """Those that the stage's loopback interface has to have."""


class _Slots:
    """Numbers for what a case names."""

    def __init__(self) -> None:
        self._names: dict[str, int] = {}

    def __call__(self, name: str) -> int:
        if name not in self._names:
            self._names[name] = len(self._names)
        return self._names[name]


def plan(case: Case, users: Users) -> Plan:
    """Plan a case.

    Args:
        case: as it stands in the file.
        users: those that this host has; a case with another one is played in a container, whose users we make.

    Raises: Unplayable.
    """
    if "code_go" in case:
        if case["action"] not in GENERATED:
            raise Unplayable(f"no steps for {case['action']}")
        case = {**GENERATED[case["action"]], "id": case["id"]}
    context = case.get("context") or {}
    processes = context.get("processes") or [{"name": "event-generator"}]
    for process in processes:
        if unknown := set(process) - _PROCESS_KEYS:
            raise Unplayable(f"a process with {', '.join(sorted(unknown))}")
    resources, steps = case.get("resources") or [], case.get("steps") or []
    script = [*_scenery(resources), *_chain(processes)]
    slots = _Slots()
    if case.get("before_script"):
        script.append(("script", case["before_script"]))
    for resource in resources:
        script.extend(_resource(resource, _is_named(resource["name"], steps), slots))
    for step in steps:
        if step["type"] != "syscall":
            raise Unplayable(f"a step of type {step['type']}")
        script.append(call_words(step["syscall"], step["args"], slots, step["name"]))
    if case.get("after_script"):
        script.append(("script", case["after_script"]))
    return Plan(
        case["id"],
        _where(context, {process["user"] for process in processes if "user" in process} <= set(users)),
        tuple(script),
        "sleep" in (case.get("before_script") or ""),
        frozenset(process["name"] for process in processes if "exe" not in process),
        frozenset(str(host) for host in map(_outside, resources) if host is not None),
    )


def _where(context: Mapping[str, Any], has_users: bool) -> Where:
    container = context.get("container")
    if container is None:
        return Where.HOST if has_users else Where.PRIVILEGED
    if unknown := set(container) - {"privileged"}:
        raise Unplayable(f"a container with {', '.join(sorted(unknown))}")
    return Where.PRIVILEGED if container.get("privileged", True) else Where.UNPRIVILEGED


def _scenery(resources: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    """Make the files before the acting processes exist, so that these do only what the case specifies."""
    found: list[tuple[str, ...]] = []
    for resource in resources:
        if resource["type"] == "fd" and resource["subtype"] == "file":
            found.append(("file", resource["filePath"]))
        elif resource["type"] == "fd" and resource["subtype"] == "directory":
            found.append(("dir", resource["dirPath"]))
    return found


def _chain(processes: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    words: list[tuple[str, ...]] = []
    for process in processes:
        if "/" in process["name"]:
            raise Unplayable(f"a process called {process['name']}")
        if "exe" in process:
            words.append(("copy", process["exe"]))
        words.extend(("env", f"{name}={value}") for name, value in (process.get("env") or {}).items())
        path = process.get("exe") or f"{PROGRAMS}/{process['name']}"
        args = process.get("args") or []
        # The user's numbers are filled in by the stage: they differ between the host and a container.
        user = process.get("user", "root")
        words.append(("exec", path, user, path, *(shlex.split(args) if isinstance(args, str) else args)))
    return words


def _is_named(name: str, steps: list[dict[str, Any]]) -> bool:
    return any(name in _REFERENCED.findall(str(step["args"])) for step in steps)


def _resource(resource: dict[str, Any], is_named: bool, slots: _Slots) -> list[tuple[str, ...]]:
    """Make what belongs to the acting process itself."""
    name = resource["name"]
    match resource["type"], resource.get("subtype"):
        case "fd", "file":
            opened = call_words("openat", {"pathname": resource["filePath"], "flags": "O_RDWR"}, slots, name)
            return [opened] if is_named else []
        case "fd", "directory":
            opened = call_words("openat", {"pathname": resource["dirPath"], "flags": "O_DIRECTORY"}, slots, name)
            return [opened] if is_named else []
        case "fd", "mem":
            return [call_words("memfd_create", {"name": resource.get("fileName", name)}, slots, name)]
        case "process", _:
            return [("child", str(slots(name)))]
        case "clientServer", _:
            return _client_and_server(name, resource["l4Proto"], resource["address"], slots)
    raise Unplayable(f"a resource of type {resource['type']} {resource.get('subtype', '')}".strip())


def _client_and_server(name: str, protocol: str, address: str, slots: _Slots) -> list[tuple[str, ...]]:
    if protocol not in _SOCKET_TYPES:
        raise Unplayable(f"a connection over {protocol}")
    kind = {"domain": "AF_INET6" if protocol.endswith("6") else "AF_INET", "type": _SOCKET_TYPES[protocol]}
    server, client = f"{name}.server", f"{name}.client"
    fd = f"${{ {server}.fd }}"
    reuse = {"fd": fd, "level": "SOL_SOCKET", "optname": "SO_REUSEADDR", "optval": b"\1\0\0\0", "optlen": 4}
    words = [
        call_words("socket", kind, slots, server),
        call_words("setsockopt", reuse, slots, "_"),
        call_words("bind", {"fd": fd, "address": address}, slots, "_"),
    ]
    if protocol.startswith("tcp"):
        words.append(call_words("listen", {"fd": fd}, slots, "_"))
    return [
        *words,
        call_words("socket", kind, slots, client),
        call_words("connect", {"fd": f"${{ {client}.fd }}", "address": address}, slots, "_"),
    ]


def _outside(resource: Mapping[str, Any]) -> object | None:
    if resource["type"] != "clientServer" or resource["address"].startswith(("/", "@")):
        return None
    host, _ = host_and_port(resource["address"])
    return None if host.is_loopback else host
