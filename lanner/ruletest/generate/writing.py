"""Converts an alert to a test case: the causes that a test file states, from the fields of an event.

A case can't state what the alert lacks; run it once and add what is missing.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from collector.events.system_calls import BY_EVENT, DescriptorFlag
from lanner.ruletest.events.registers import PATH_FIELDS, SETTABLE
from processor.compiler.values.transformers import as_text
from schemas.catalogue.openers import FILE_OPENERS

_BARE = re.compile(r"[A-Za-z0-9_./][A-Za-z0-9_./|+@ -]*[A-Za-z0-9_./|+@-]|[A-Za-z0-9_./]")
_WORDS = frozenset({"null", "~", "yes", "no", "true", "false", "none"})
_SOCKETS = frozenset({"ipv4", "ipv6"})
_KEPT = frozenset({"evt.time", "evt.rawtime", "evt.num", "proc.pid", "proc.ppid", "thread.tid", "evt.hostname"})
_TOLD_BY_FLAGS = {
    "O_F_CREATED": "created",
    "FD_UPPER_LAYER": "fd.is_upper_layer",
    "FD_LOWER_LAYER": "fd.is_lower_layer",
    "FD_UPPER_LAYER_CREAT": "fd.is_upper_layer",
    "FD_LOWER_LAYER_CREAT": "fd.is_lower_layer",
}
_MOST_ANCESTORS = 16
_MISSING = "<NA>"

Fields = Mapping[str, Any]


def event_of(fields: Fields) -> dict[str, Any]:
    """Return the causes of an event, as an event of a test file.

    Args:
        fields: of an alert or an event; evt.type and proc.name are required.
    """
    fields = {key: value for key, value in fields.items() if value is not None and value != _MISSING}
    event_type = str(fields.get("evt.type", ""))
    event: dict[str, Any] = {"evt.type": event_type}
    result = fields.get("evt.res")
    if isinstance(result, str) and result != "SUCCESS":
        event["res"] = result
    if as_text(fields.get("evt.io_uring", False)) == "true":
        event["evt.io_uring"] = "true"
    spec = BY_EVENT.get(event_type)
    if spec is not None and (event_type not in ("execve", "execveat") or "res" in event):
        event |= _paths(event_type, spec.path_roles, fields)
        for argument in spec.arguments:
            value = fields.get(f"evt.arg.{argument.name}", fields.get(f"evt.arg[{argument.name}]"))
            if value not in (None, "", "0") and argument.kind in SETTABLE and argument.name not in event:
                event |= _argument(argument.name, as_text(value))
        if spec.flags & DescriptorFlag.FD_IS_RESULT or spec.fd != 0xFF:
            event |= _descriptor(event_type, fields)
    event["proc"] = _process(fields)
    container = _container(fields)
    if container:
        event["container"] = container
    return event


def _argument(name: str, text: str) -> dict[str, str]:
    """Return an argument as a caller passes it; flags that the kernel side derives become keys of their own."""
    flags = text.split("|")
    found = {key: "true" for flag, key in _TOLD_BY_FLAGS.items() if flag in flags}
    passed = "|".join(flag for flag in flags if flag not in _TOLD_BY_FLAGS)
    return found | ({name: passed} if passed else {})


def _paths(event_type: str, roles: str, fields: Fields) -> dict[str, Any]:
    found = {}
    if event_type in FILE_OPENERS and "fd.name" in fields:
        found["fd.name"] = fields["fd.name"]
        flags = fields.get("evt.arg.flags")
        if flags is None and event_type != "creat":
            found["flags"] = _guessed_flags(fields)
    for role in roles:
        if (value := fields.get(PATH_FIELDS[role])) is not None:
            found[PATH_FIELDS[role]] = value
    return found


def _guessed_flags(fields: Fields) -> str:
    reads, writes = fields.get("evt.is_open_read"), fields.get("evt.is_open_write")
    return "O_RDWR" if reads and writes else "O_WRONLY" if writes else "O_RDONLY"


def _descriptor(event_type: str, fields: Fields) -> dict[str, Any]:
    found: dict[str, Any] = {}
    kind = fields.get("fd.type")
    number = fields.get("fd.num")
    if isinstance(number, int) and number >= 0 and number != 3:
        found["fd.num"] = str(number)
    if kind in _SOCKETS:
        for key, address, port in (("remote", "fd.rip", "fd.rport"), ("local", "fd.lip", "fd.lport")):
            if address in fields and port in fields:
                host = str(fields[address])
                found[key] = f"[{host}]:{fields[port]}" if ":" in host else f"{host}:{fields[port]}"
        if fields.get("fd.l4proto", "tcp") != "tcp":
            found["fd.l4proto"] = fields["fd.l4proto"]
        if not found.keys() & {"remote", "local"} and "fd.name" in fields:
            far, near = str(fields["fd.name"]).partition("->")[::2]
            found |= {"remote": near or far} | ({"local": far} if near else {})
    elif kind == "unix":
        found["remote" if event_type != "bind" else "local"] = fields.get("fd.name", "")
    elif event_type not in FILE_OPENERS and "fd.name" in fields:
        found["fd.name"] = fields["fd.name"]
        if kind not in (None, "file"):
            found["fd.type"] = kind
    return {key: value for key, value in found.items() if value != ""}


def _process(fields: Fields) -> dict[str, Any]:
    name = str(fields.get("proc.name", "unknown"))
    process: dict[str, Any] = {"name": name}
    if (path := fields.get("proc.exepath")) is not None and path != f"/usr/bin/{name}":
        process["exepath"] = path
    if (exe := fields.get("proc.exe")) is not None and exe != name:
        process["exe"] = exe
    line = fields.get("proc.cmdline")
    args = fields.get("proc.args", str(line).removeprefix(name).strip() if line is not None else "")
    if args:
        process["args"] = str(args).split(" ")
    if (directory := fields.get("proc.cwd")) is not None and directory != "/":
        process["cwd"] = str(directory).rstrip("/") or "/"
    for key, field, usual in (
        ("tty", "proc.tty", 0),
        ("uid", "user.uid", 0),
        ("user", "user.name", "root"),
        ("loginuid", "user.loginuid", -1),
    ):
        if (value := fields.get(field)) is not None and value != usual:
            process[key] = as_text(value)
    if isinstance(age := fields.get("proc.duration"), int) and age >= 0:
        process["age"] = f"{age // 1_000_000}ms"
    if fields.get("proc.is_exe_from_memfd") is True:
        process["memfd"] = "true"
    if fields.get("proc.is_exe_upper_layer") is True:
        process["upper_layer"] = "true"
    ancestors = _ancestors(fields)
    if ancestors:
        process["ancestors"] = ancestors
    return process


def _ancestors(fields: Fields) -> list[Any]:
    found: list[Any] = []
    for level in range(1, _MOST_ANCESTORS):
        parts = ("name", "exepath", "cmdline")
        name, path, line = (fields.get(f"proc.a{part}[{level}]") for part in parts)
        if level == 1:
            name, path, line = (fields.get(f"proc.p{part}", fields.get(f"proc.a{part}[1]")) for part in parts)
        if name is None:
            break
        ancestor: dict[str, Any] = {"name": str(name)}
        if path not in (None, f"/usr/bin/{name}"):
            ancestor["exepath"] = path
        args = "" if line is None else str(line).removeprefix(str(name)).strip()
        if args:
            ancestor["args"] = args.split(" ")
        found.append(ancestor if len(ancestor) > 1 else str(name))
    return found


def _container(fields: Fields) -> dict[str, Any]:
    identifier = fields.get("container.id")
    if identifier in (None, "host", ""):
        return {}
    found: dict[str, Any] = {"id": str(identifier)}
    if (name := fields.get("container.name")) is not None:
        found["name"] = name
    repository, tag = fields.get("container.image.repository"), fields.get("container.image.tag")
    image = fields.get("container.image") or (f"{repository}:{tag}" if repository and tag else repository)
    if image:
        found["image"] = image
    if fields.get("container.privileged") is True:
        found["privileged"] = "true"
    if (pod := fields.get("k8s.pod.name")) is not None:
        found["pod"] = {"name": pod, "namespace": fields.get("k8s.ns.name", "default")}
    return found


def case_text(name: str, events: Iterable[Mapping[str, Any]], rule: str, priority: str, fields: Fields) -> str:
    """Return a case as YAML.

    Args:
        name: of the case.
        events: results of `event_of`.
        rule: the expected rule.
        priority: of the alert.
        fields: of the alert; those that differ with each run are omitted.
    """
    shown = {
        key: as_text(value)
        for key, value in fields.items()
        if value is not None and value != _MISSING and key not in _KEPT and not key.startswith("evt.time")
    }
    lines = [f"  - name: {_scalar(name)}", "    given:"]
    lines += [f"      - {_flow(event)}" for event in events]
    lines += ["    expect:", f"      - rule: {_scalar(rule)}", f"        priority: {_scalar(priority)}"]
    if shown:
        lines.append("        output_fields:")
        lines += [f"          {_scalar(key)}: {_scalar(value)}" for key, value in shown.items()]
    return "\n".join(lines) + "\n"


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_scalar(str(key))}: {_flow(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return _scalar(as_text(value))


def _scalar(text: str) -> str:
    """Write a text plain if YAML reads it back unchanged, else as a JSON string, which is YAML too."""
    if _BARE.fullmatch(text) and text.lower() not in _WORDS:
        return text
    valid = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return json.dumps(valid)
