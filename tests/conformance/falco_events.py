"""Builds event batches from the raw events of Falco's unit tests, by the code that replays captures.

Parameters are encoded as a capture holds them. Batches do not hold, and the tests do not cover: counts of threads and
children, memory and fault counters, descriptor tables (fd.types, proc.stdin.*), the descriptor limit, and attributes
that cases set on Falco's objects without an event.
"""

import struct
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

from lanner.captures.assembler import CaptureAssembler
from lanner.captures.format.events import EVENTS, SIZES, CapturedEvent, EventJoiner, EventVersion
from lanner.captures.format.lists import ListedDescriptor, ListedThread, ListedUser, Machine
from schemas.batch import EventBatch
from schemas.catalog.fields import ParamSpec
from schemas.catalog.flags import FLAG_TABLES
from tests.conformance.parameters import plain
from tests.unit.processor import batches

HOSTNAME = "testbox"
_BASE_TIME = 1_566_230_400_000_000_000
_FAMILIES = {4: 2, 6: 10}
_FILE = 16
_CHILD_IN_PIDNS = 1 << 24
_NULL = "<NA>"
"""How Falco encodes a text without an address."""
_INIT = ListedThread(
    *(1, 1, 0),
    sid=0,
    vpgid=1,
    pgid=0,
    vtid=1,
    vpid=1,
    comm="init",
    exe="/sbin/init",
    exepath="/sbin/init",
    args=("context", "ls", "--format", "{{json .}}"),
    env=("TEST_ENV_PARENT_LINEAGE=secret", "HOME=/home/user/parent"),
    cwd="/root/",
    uid=0,
    gid=0,
    loginuid=0xFFFFFFFF,
)
"""The process that all cases start with."""


_USER = ListedUser(5, 5, "test", "", "")


def batch_of(case: Mapping[str, Any]) -> EventBatch:
    """Replay a case's earlier events and return the batch of its own event."""
    assembler, joiner = CaptureAssembler(), EventJoiner()
    assembler.set_machine(Machine(HOSTNAME))
    assembler.threads.list_thread(_INIT)
    assembler.accounts.add(_USER)
    assembler.list_descriptor(ListedDescriptor(1, 0, _FILE, name="/dev/null", ino=5))
    events = [*(case.get("prior_events") or ()), case["event"]]
    count = 0
    for position, given in enumerate(events):
        if position == len(events) - 1:
            assembler.finish()
        event = joiner.join(_event(given, _BASE_TIME + position))
        if event is not None:
            assembler.take(event)
        count += not given.get("filtered_out")
    batch = assembler.finish()
    if not batch.count:
        # Falco's tests read events too that its engine doesn't evaluate.
        batch = batches.batch_of({"type": case["event"]["evt.type"]})
    return replace(batch, first_number=count, numbers=())


def _event(given: Mapping[str, Any], time: int) -> CapturedEvent:
    params = {name: plain(value) for name, value in (given.get("params") or {}).items()}
    params |= {name: _of_expression(value["cpp"], params) for name, value in params.items() if _is_expression(value)}
    version = _version(given["evt.type"], params, is_exit=given.get("direction", "<") == "<")
    values = tuple(_encoded(param, params[param.name]) for param in version.params if param.name in params)
    return CapturedEvent(time, given.get("tid", 1), 1, version, values)


def _is_expression(value: Any) -> bool:
    return isinstance(value, Mapping) and "cpp" in value


def _of_expression(text: str, params: Mapping[str, Any]) -> Any:
    """Return what an expression stands for that a case quotes from the C++ test."""
    if text == "data.size()":
        return len(_text(params["data"]))
    if text == "enter_filename":
        return "<NA>"
    return f"/{text}" + "/x" * 2048 if "path" in text else 0


def _version(name: str, params: Mapping[str, Any], *, is_exit: bool) -> EventVersion:
    """Return the latest version of an event that has these parameters."""
    return next(
        version
        for version in reversed(EVENTS)
        if version.name == name and version.is_exit is is_exit and params.keys() <= version.indices.keys()
    )


def _encoded(param: ParamSpec, value: Any) -> bytes:
    if value is None:
        return b""
    if param.type in SIZES:
        size = SIZES[param.type]
        return (_number(param, value) & ((1 << 8 * size) - 1)).to_bytes(size, "little")
    if isinstance(value, list):
        return b"".join(_text(item) + b"\0" for item in value)
    if isinstance(value, Mapping) and "sockaddr" in value:
        return _end(value["sockaddr"], with_family=True)
    if isinstance(value, Mapping) and "tuple" in value:
        ends = value["tuple"]
        return _end(ends["client"], with_family=True) + _end(ends["server"])
    if isinstance(value, str):
        return _text(value) + (b"" if param.type == "BYTEBUF" else b"\0")
    raise ValueError(f"{param.name}: {value!r} is no {param.type}")


def _number(param: ParamSpec, value: Any) -> int:
    if isinstance(value, int):
        return value
    return sum(_flag(param.info, flag) for flag in value["flags"])


def _flag(table: str, name: str) -> int:
    """Return a flag by its name in Falco's headers, which begins with prefixes such as PPM_CL_."""
    tables = [FLAG_TABLES[table]] if table in FLAG_TABLES else FLAG_TABLES.values()
    numbers = {entry.name: entry.number for each in tables for entry in each.entries}
    if name == "PPM_CL_CHILD_IN_PIDNS":
        return _CHILD_IN_PIDNS
    words = name.split("_")
    return next(number for at in range(len(words)) if (number := numbers.get("_".join(words[at:]))) is not None)


def _text(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _end(end: Mapping[str, Any], *, with_family: bool = False) -> bytes:
    address = ip_address(end["ip"])
    family = bytes([_FAMILIES[address.version]]) if with_family else b""
    return family + address.packed + struct.pack("<H", end["port"])
