"""Finds out what kinds of code a package brought: code that must be mapped to run, or code that others interpret.

Only of the former is it known whether a process has it. Runs in the look-up server, as the databases' readers do.
"""

import os
import re
import stat
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Literal

from collector.procfs.foreign_files import closing, open_below, read_below
from collector.procfs.packages import APK, DISTROLESS, INFO, MAX_APK, rpm_headers
from collector.procfs.reading import read_up_to

MAX_FILES = 20_000
"""Files of a package that are looked at."""
_MAX_LIST = 4 << 20
_EXECUTABLE, _SHARED = 2, 3
_ELF = struct.Struct("=4s12xH")
_SCRIPTS = re.compile(
    r"\.(py|pyc|pyo|pl|pm|rb|php|phtml|js|mjs|cjs|lua|tcl|sh|bash|awk|el|elc|r|jar|war|class|ko|bpf)\Z"
)
Kind = Literal["mapped", "interpreted", ""]


def responder(proc: str, host_root: str) -> Callable[[dict[str, Any]], list[bool]]:
    """Return the function that responds to queries: a pid as for packages, and packages by manager and name.

    The name of a package of dpkg is followed by its architecture, as in libc6:amd64. For each, the response is whether
    all of its code must be mapped to run, as far as that can be known.
    """
    of_host = host_root if os.access(host_root, os.X_OK) else "/"

    def look(request: dict[str, Any]) -> list[bool]:
        place = f"{proc}/{request['pid']}/root" if request["pid"] else of_host
        with closing(os.open(place, os.O_PATH | os.O_CLOEXEC)) as root:
            return [is_all_mapped(root, manager, name) for manager, name in request["packages"]]

    return look


def is_all_mapped(root: int, manager: str, name: str) -> bool:
    """Return whether a package below an open root directory has programs or libraries, and no other code."""
    has_code = False
    for number, path in enumerate(_paths(root, manager, name)):
        kind = _kind(root, path)
        if number >= MAX_FILES or kind == "interpreted":
            return False
        has_code |= kind == "mapped"
    return has_code


def _paths(root: int, manager: str, name: str) -> Iterator[str]:
    """Yield the paths that a package lists, directories of dpkg's included."""
    if manager == "dpkg":
        bare = name.partition(":")[0]
        lists = [f"{INFO}/{name}.list", f"{INFO}/{bare}.list", f"{DISTROLESS}/{bare}.md5sums"]
        for place in lists if "/" not in name else []:
            read = read_below(root, place, limit=_MAX_LIST)
            if read is not None:
                lines = read[0].decode("utf-8", "surrogateescape").split("\n")
                yield from (line[34:] if place.endswith(".md5sums") else line for line in lines if line)
                return
    elif manager == "apk":
        read = read_below(root, APK, limit=MAX_APK)
        text = "" if read is None else "\n\n" + read[0].decode("utf-8", "surrogateescape")
        for stanza in text.split("\n\n"):
            if f"\nP:{name}\n" in f"\n{stanza}":
                folder = ""
                for line in stanza.split("\n"):
                    if line.startswith("F:"):
                        folder = line[2:]
                    elif line.startswith("R:"):
                        yield f"{folder}/{line[2:]}"
    else:
        for header in rpm_headers(root):
            with suppress(ValueError, IndexError, struct.error):
                if header.name == name:
                    yield from header.paths(MAX_FILES + 1)


def _kind(root: int, path: str) -> Kind:
    """Return what kind of code a file is. What can't be read might be any."""
    if _SCRIPTS.search(path.lower()):
        return "interpreted"
    folder, _, name = path.strip("/").rpartition("/")
    try:
        with closing(open_below(root, folder or ".")) as above:
            # A link leads to a file that another list has.
            entry = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
        with closing(entry) as location:
            if not stat.S_ISREG(os.fstat(location).st_mode):
                return ""
            flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
            with closing(os.open(f"/proc/self/fd/{location}", flags)) as file:
                head = read_up_to(file, _ELF.size)
    except FileNotFoundError:
        return ""
    except OSError:
        return "interpreted"
    if head.startswith(b"#!"):
        return "interpreted"
    if len(head) == _ELF.size and head.startswith(b"\x7fELF"):
        # Modules of the kernel and objects of eBPF are neither, and no process maps them.
        return "mapped" if _ELF.unpack(head)[1] in {_EXECUTABLE, _SHARED} else "interpreted"
    return ""
