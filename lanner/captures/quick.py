"""Apply the changes by events that no rule can match, straight from the file's bytes.

Each handler does what the full path does (state.opened, state.effects) for the most frequent events. It returns False,
and has changed nothing, if an event needs the full path: for unusual parameters, or because a rule may match it.
"""

import struct
from collections.abc import Callable, Mapping
from functools import cache
from itertools import groupby
from typing import Any

from lanner.captures.format.blocks import MAX_TEXT, text_of
from lanner.captures.format.events import EVENTS, GENERIC, JOINS, SIGNED, SIZES, EventVersion, system_call_name
from lanner.captures.state import descriptors as kinds
from lanner.captures.state.descriptors import OpenDescriptor
from lanner.captures.state.effects import CHILD_SUBREAPER
from lanner.captures.state.opened import DUPLICATES, F_DUPFD_CLOEXEC, F_SETFD, RECEIVES, SENDS, TRANSFERS, open_bits
from lanner.captures.state.parameters import AT_FDCWD, UNKNOWN_DIRECTORY, absolute_path
from lanner.captures.state.threads import CapturedThread, ThreadTable
from processor.compiler.batch import Excludes
from schemas.batch import EventBit
from schemas.catalog.system_calls import FLAG_OPENERS

Decode = Callable[[bytes, int, int], tuple[Any, ...] | None]
"""Takes a window, where the sizes of an event's parameters begin, and where the event ends. Returns parameters:
numbers, or bytes for types without a fixed size; None if the event has others than the event table states."""
_CODES = {1: "b", 2: "h", 4: "i", 8: "q"}


@cache
def decoder(number: int, wanted: tuple[str, ...]) -> Decode:
    """Return the decoder of some parameters of an event, which are in the order of the event table."""
    version = EVENTS[number]
    code, width = ("I", 4) if version.is_large else ("H", 2)
    sizes = [SIZES.get(param.type) for param in version.params]
    least = width * len(sizes) + sum(size or 0 for size in sizes)
    wrong = [f"s{index} != {size}" for index, size in enumerate(sizes) if size is not None]
    total = " + ".join([str(least), *(f"s{index}" for index, size in enumerate(sizes) if size is None)])
    constants: dict[str, Any] = {"sizes": struct.Struct(f"<{len(sizes)}{code}").unpack_from}
    lines = [
        "def decode(data, at, end):",
        f"    if end - at < {least}: return None",
        f"    {''.join(f's{index}, ' for index in range(len(sizes)))} = sizes(data, at)",
        f"    if {' or '.join([*wrong, f'{total} > end - at'])}: return None",
        f"    at += {width * len(sizes)}",
    ]
    for is_fixed, group in groupby(enumerate(version.params), lambda pair: sizes[pair[0]] is not None):
        run = list(group)
        if is_fixed:
            # Consecutive numbers are unpacked at once; those that nobody wants are padding.
            codes = "".join(_code(param.type, is_wanted=param.name in wanted) for _, param in run)
            values = "".join(f"v{index}, " for index, param in run if param.name in wanted)
            layout = struct.Struct(f"<{codes}")
            constants[f"run{run[0][0]}"] = layout.unpack_from
            lines += [f"    {values} = run{run[0][0]}(data, at)"] if values else []
            lines += [f"    at += {layout.size}"]
            continue
        for index, param in run:
            lines += [f"    v{index} = data[at:at + s{index}]"] if param.name in wanted else []
            lines += [f"    at += s{index}"]
    lines.append(f"    return ({''.join(f'v{version.indices[name]}, ' for name in wanted)})")
    exec(compile("\n".join(lines), f"<{version.name}>", "exec"), constants)  # noqa: S102  made from the event table
    return constants["decode"]  # type: ignore[no-any-return]


def _code(kind: str, *, is_wanted: bool) -> str:
    size = SIZES[kind]
    if not is_wanted:
        return f"{size}x"
    return _CODES[size] if kind in SIGNED else _CODES[size].upper()


Handler = Callable[[CapturedThread, bytes, int, int], bool]
"""Takes the thread, a window, where the sizes of the event's parameters begin, and where the event ends."""
ENTRY, EXIT, NOTICE = range(3)
"""Kinds of events that change nothing: the entry of a call, its exit, and events that are neither."""
Quick = Handler | int
"""A handler, or the kind of an event that changes nothing."""
_FAILED = int(EventBit.FAILED)


class QuickHandlers:
    """The handlers by event number.

    effects: the names of events that change any state; exclusions: by event type that matters to a rule, what excludes
    events.
    """

    def __init__(self, threads: ThreadTable, effects: frozenset[str], exclusions: Mapping[str, Excludes]) -> None:
        self._threads = threads
        self._exclusions = exclusions
        self.by_form: dict[tuple[int, int], Quick] = {}
        """By event number and number of parameters."""
        for number, count in {*JOINS, *((each.number, len(each.params)) for each in EVENTS)}:
            version = current_version(number, count)
            if version is not None and version.name not in effects | exclusions.keys() and version.name != GENERIC:
                is_entry = not EVENTS[number].is_exit and version.is_exit
                self.by_form[number, count] = ENTRY if is_entry else EXIT if version.is_exit else NOTICE
        for version in EVENTS:
            handler = self._handler(version) if is_complete(version, len(version.params)) else None
            if handler is not None:
                self.by_form[version.number, len(version.params)] = handler

    def _handler(self, version: EventVersion) -> Handler | None:
        excludes = self._exclusions.get(version.name)
        if version.name == GENERIC:
            return self._system_call(version)
        if version.name in FLAG_OPENERS:
            return self._open(version, excludes)
        if excludes is None:
            if version.name == "close":
                return self._close(version)
            if version.name == "fcntl":
                return self._control(version)
            if version.name == "prctl":
                return self._process_control(version)
            if version.name in TRANSFERS:
                return self._transfer(version)
        return None

    def _system_call(self, version: EventVersion) -> Handler:
        decode, exclusions = decoder(version.number, ("ID", "nativeID")), self._exclusions

        def handle(_: CapturedThread, data: bytes, at: int, end: int) -> bool:
            found = decode(data, at, end)
            return found is not None and system_call_name(*found) not in exclusions

        return handle

    def _close(self, version: EventVersion) -> Handler:
        decode, find = decoder(version.number, ("res", "fd")), self._threads.find

        def handle(thread: CapturedThread, data: bytes, at: int, end: int) -> bool:
            found = decode(data, at, end)
            if found is None:
                return False
            if found[0] >= 0:
                main = thread if thread.main_tid == thread.tid else find(thread.main_tid) or thread
                main.descriptors.pop(found[1], None)
            return True

        return handle

    def _control(self, version: EventVersion) -> Handler:
        decode, find = decoder(version.number, ("res", "fd", "cmd", "arg")), self._threads.find
        add = self._threads.add_descriptor

        def handle(thread: CapturedThread, data: bytes, at: int, end: int) -> bool:
            found = decode(data, at, end)
            if found is None:
                return False
            result, number, command, argument = found
            main = thread if thread.main_tid == thread.tid else find(thread.main_tid) or thread
            descriptor = main.descriptors.get(number)
            if descriptor is None:
                return True
            if command in DUPLICATES and result >= 0:
                add(thread, result, descriptor.copied(kinds.O_CLOEXEC if command == F_DUPFD_CLOEXEC else 0))
            elif command == F_SETFD and result >= 0:
                descriptor.flags = descriptor.flags & ~kinds.O_CLOEXEC | (kinds.O_CLOEXEC if argument & 1 else 0)
            return True

        return handle

    @staticmethod
    def _process_control(version: EventVersion) -> Handler:
        decode = decoder(version.number, ("option",))

        def handle(_: CapturedThread, data: bytes, at: int, end: int) -> bool:
            found = decode(data, at, end)
            return found is not None and found[0] not in CHILD_SUBREAPER

        return handle

    def _transfer(self, version: EventVersion) -> Handler:
        is_message = version.name in SENDS | RECEIVES
        decode = decoder(version.number, ("res", "fd", "tuple") if is_message else ("res", "fd"))
        find = self._threads.find

        def handle(thread: CapturedThread, data: bytes, at: int, end: int) -> bool:
            found = decode(data, at, end)
            if found is None or (is_message and found[2]):
                return False
            if found[0] >= 0:
                main = thread if thread.main_tid == thread.tid else find(thread.main_tid) or thread
                descriptor = main.descriptors.get(found[1])
                if descriptor is not None and descriptor.type in kinds.CONNECTIONS:
                    descriptor.is_connected = True
            return True

        return handle

    def _open(self, version: EventVersion, excludes: Excludes | None) -> Handler:
        is_at = "dirfd" in version.indices
        names = ("fd", "name", "flags", "mode", "dev", "ino")
        decode = decoder(version.number, (*names, "dirfd") if is_at else names)
        find, add = self._threads.find, self._threads.add_descriptor

        def handle(thread: CapturedThread, data: bytes, at: int, end: int) -> bool:
            found = decode(data, at, end)
            if found is None or not found[1]:
                return False
            number, raw, flags, mode, dev, ino = found[:6]
            main = thread if thread.main_tid == thread.tid else find(thread.main_tid) or thread
            directory: str | None = UNKNOWN_DIRECTORY
            if raw[0] != _SLASH:
                if not is_at or found[6] == AT_FDCWD:
                    directory = main.entry.context.cwd
                else:
                    folder = main.descriptors.get(found[6])
                    directory = UNKNOWN_DIRECTORY if folder is None else folder.name
            text = text_of(raw[:MAX_TEXT])
            name = absolute_path(directory, text) or ""
            if excludes is not None:
                bits = open_bits(flags, mode, number) | (_FAILED if number < 0 else 0)
                entry = thread.entry
                if not excludes(bits, name, entry.program.name, entry.container is None):
                    return False
            if number >= 0:
                kind = kinds.DIRECTORY if flags & kinds.O_DIRECTORY else kinds.FILE_V2
                add(main, number, OpenDescriptor(kind, name, text, flags, dev, ino))
            return True

        return handle


_SLASH = ord("/")


def is_complete(version: EventVersion, count: int) -> bool:
    """Return whether an event with some number of parameters is evaluated as it is."""
    if version.is_unused or (version.is_old and not version.is_exit):
        return False
    return not version.is_joined or (version.is_exit and not version.is_old and count == len(version.params))


def current_version(number: int, count: int) -> EventVersion | None:
    """Return the version that an event with some number of parameters becomes, or completes if it is an entry.

    None if that depends on more, or if it becomes no event.
    """
    for _ in range(len(EVENTS)):
        version = EVENTS[number]
        join = JOINS.get((number, count))
        if is_complete(version, count) and (join is None or count == len(version.params)):
            return version
        if join is None:
            return None
        if join.action == "store":
            # Numbers of exits follow those of their entries.
            return EVENTS[number + 1] if not version.is_exit else None
        if join.action not in {"add", "change"} or version.is_unused:
            return None
        number, count = (join.into, 0) if join.action == "change" else (number, count)
        count += len(join.steps)
        if count > len(EVENTS[number].params):
            return None
    return None
