"""Reads which files a living process runs or has mapped, and on which ports it listens.

Runs in the look-up server: the table of mappings can't be read while somebody holds the locks of the process's memory.
All that is read may have been chosen by the process, and is bounded.
"""

import ipaddress
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

from collector.procfs.foreign_files import cached_stat, closing
from collector.procfs.parse import parse_cgroup, parse_stat, parse_status, text_of
from collector.procfs.reading import read_file, read_up_to
from foundation.caches import BoundedMap

MAX_MAPS = 8 << 20
"""Bytes read of a table of mappings: some 80,000 of usual length, more than a process may have by default."""
MAX_LOADED = 2048
"""Files of a process; a large one (a browser, an office suite) has some 400."""
_MAX_DESCRIPTORS = 4096
_MAX_LISTENING = 64
_MAX_TABLE = 4 << 20
_MAX_NETWORKS = 64
_MAX_SMALL = 1 << 16
_MAX_PATH = 4096
_DELETED = " (deleted)"
_NOT_FILES = ("/dev/", "/memfd:", "/SYSV", "/proc/", "/sys/", "/anon_hugepage", "/[aio]", "/i915")
_MAPPING = re.compile(
    rb"^[0-9a-f]+-[0-9a-f]+ [r-](?!w.s)[w-]([x-])[sp] [0-9a-f]+ [0-9a-f]+:[0-9a-f]+ [1-9][0-9]* +(/[^\n]*)$",
    re.MULTILINE,
)
"""Mappings of files but those through which a file is written, such as a database's: they are data."""
_SOCKET = re.compile(r"socket:\[([0-9]{1,20})\]")
_LISTEN, _BOUND = "0A", "07"
"""TCP's state of a listening socket, and UDP's of one that isn't connected. Source: net/tcp_states.h."""
_TABLES = (("tcp", _LISTEN), ("tcp6", _LISTEN), ("udp", _BOUND), ("udp6", _BOUND))


@dataclass(frozen=True, slots=True)
class LoadedFile:
    """A file that a process runs or has mapped."""

    path: str
    """As the process's root directory has it."""
    is_deleted: bool
    """True if it was removed or replaced since: the process has the old one."""


def parse_maps(text: bytes) -> tuple[tuple[LoadedFile, ...], int]:
    r"""Return the files of a table of mappings, each once, at most MAX_LOADED, and how many more there were.

    Those with code come first.

    Source: proc_pid_maps(5). A line break in a path is written as \012.
    """
    mappings = sorted(_MAPPING.finditer(text), key=lambda match: match[1] != b"x")
    paths = dict.fromkeys(match[2] for match in mappings)
    files = [file_of(text_of(path.replace(rb"\012", b"\n"))) for path in paths if len(path) <= _MAX_PATH]
    found = [file for file in files if not file.path.startswith(_NOT_FILES)]
    return tuple(found[:MAX_LOADED]), max(0, len(found) - MAX_LOADED) + len(paths) - len(files)


def file_of(link: str) -> LoadedFile:
    """Return the file that procfs names by a path, which ends with "(deleted)" if it was removed."""
    return LoadedFile(link.removesuffix(_DELETED), link.endswith(_DELETED))


def parse_listening(text: bytes, protocol: str, state: str) -> dict[int, str]:
    """Return the sockets of a table of procfs that are in a state, by inode: tcp 0.0.0.0:22 or tcp [::]:22.

    Source: proc_pid_net(5). Addresses are words of 32 bits in the machine's byte order, which is little-endian on all
    that Lanner supports.
    """
    found = {}
    for line in text.split(b"\n")[1:]:
        fields = line.decode("ascii", "replace").split()
        with suppress(ValueError, IndexError):
            address, _, port = fields[1].partition(":")
            if fields[3] == state and int(port, 16):
                found[int(fields[9])] = f"{protocol} {_address(address)}:{int(port, 16)}"
    return found


def _address(digits: str) -> str:
    raw = b"".join(bytes.fromhex(digits[at : at + 8])[::-1] for at in range(0, len(digits), 8))
    found = ipaddress.ip_address(raw)
    found = getattr(found, "ipv4_mapped", None) or found
    return f"[{found}]" if found.version == 6 else str(found)


def is_network_facing(listening: str) -> bool:
    """Return whether other machines may reach what listens: its address isn't a loopback address."""
    address = listening.partition(" ")[2].rpartition(":")[0].strip("[]")
    return not ipaddress.ip_address(address).is_loopback


def responder(proc: str, host_root: str) -> Callable[[int], dict[str, Any]]:
    """Return the function that reads a process, given its pid.

    The result has a member "is_hidden" alone if this user may not read it, and none if the process has ended, is a
    kernel's thread, or was replaced meanwhile.
    """
    networks: BoundedMap[str, Mapping[int, str]] = BoundedMap(_MAX_NETWORKS)
    of_host = _identity(host_root) or _identity("/")

    def look(pid: int) -> dict[str, Any]:
        folder = f"{proc}/{pid}"
        stat, status = parse_stat(_small(f"{folder}/stat")), parse_status(_small(f"{folder}/status"))
        if stat is None or stat.is_kernel_thread or status is None or status.tgid != pid:
            return {}
        try:
            with closing(os.open(f"{folder}/maps", os.O_RDONLY | os.O_CLOEXEC)) as table:
                maps = read_up_to(table, MAX_MAPS)
        except PermissionError:
            return {"is_hidden": True}
        except OSError:
            return {}
        root = _identity(f"{folder}/root")
        if root is None:
            return {}
        files, left_out = parse_maps(maps)
        with suppress(OSError):
            program = file_of(os.readlink(f"{folder}/exe"))  # noqa: PTH115 - as everywhere here
            if program.path.startswith("/") and not program.path.startswith(_NOT_FILES):
                files = tuple(dict.fromkeys((program, *files)))
        prefix = "" if root == of_host else os.readlink(f"{folder}/root").rstrip("/")  # noqa: PTH115
        found = {
            "start": stat.start_ticks,
            "name": stat.comm,
            "uid": status.uid,
            "cgroup": parse_cgroup(_small(f"{folder}/cgroup")) or "",
            "root": [] if root == of_host else [*root],
            "root_path": prefix,
            "files": [[_below(file.path, prefix), file.is_deleted] for file in files],
            "left_out": left_out,
            "is_cut": len(maps) == MAX_MAPS,
            "listening": [*islice(_listening(folder, networks), _MAX_LISTENING)],
        }
        last = parse_stat(_small(f"{folder}/stat"))
        return found if last is not None and last.start_ticks == stat.start_ticks else {}

    return look


def listening_responder(proc: str, _: str) -> Callable[[int], list[tuple[int, int, str, list[str]]]]:
    """Return the function that finds processes which listen where other machines may reach them, at most so many.

    Each has its process id, start in ticks, name and addresses. The first process of the host is none: it listens for
    services that it starts, so it would be everybody's server.
    """

    def look(most: int) -> list[tuple[int, int, str, list[str]]]:
        networks: BoundedMap[str, Mapping[int, str]] = BoundedMap(_MAX_NETWORKS)
        found: list[tuple[int, int, str, list[str]]] = []
        for pid in sorted(int(name) for name in os.listdir(proc) if name.isdigit()):  # noqa: PTH208 - names only
            folder = f"{proc}/{pid}"
            every = [*islice(_listening(folder, networks), _MAX_LISTENING)] if pid > 1 else []
            stat = parse_stat(_small(f"{folder}/stat")) if any(map(is_network_facing, every)) else None
            if stat is not None and len(found) < most:
                found.append((pid, stat.start_ticks, stat.comm, every))
        return found

    return look


def _below(path: str, prefix: str) -> str:
    """Return the path that a process has after chroot for one of the host."""
    return path.removeprefix(prefix) if prefix and path.startswith(f"{prefix}/") else path


def _identity(root: str) -> tuple[int, int] | None:
    with suppress(OSError):
        found = cached_stat(root)
        return found.device, found.inode
    return None


def _small(path: str) -> bytes:
    return read_file(path, _MAX_SMALL) or b""


def _listening(folder: str, networks: BoundedMap[str, Mapping[int, str]]) -> Iterator[str]:
    """Yield what a process listens on, by its descriptors; the tables of each network namespace are read once."""
    with suppress(OSError):
        network = os.readlink(f"{folder}/ns/net")  # noqa: PTH115
        known = networks.get(network)
        if known is None:
            known = {}
            for protocol, state in _TABLES:
                text = read_file(f"{folder}/net/{protocol}", _MAX_TABLE)
                known |= parse_listening(text or b"", protocol[:3], state)
            networks.put(network, known)
        seen = set()
        with os.scandir(f"{folder}/fd") as descriptors:
            for each in islice(descriptors, _MAX_DESCRIPTORS if known else 0):
                with suppress(OSError):
                    socket = _SOCKET.fullmatch(os.readlink(each.path))  # noqa: PTH115
                    if socket and (own := known.get(int(socket[1]))) is not None and own not in seen:
                        seen.add(own)
                        yield own
