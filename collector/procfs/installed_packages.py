"""Lists the packages of a root directory and the kinds of code that they brought, from databases of dpkg, apk and rpm.

Code is mapped to run, or read by an interpreter. Runs in the look-up server: a container decides what its databases
contain, and the disk may not respond.
"""

import os
import re
import stat
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, Literal

from collector.procfs.foreign_files import closing, open_below, read_below
from collector.procfs.loaded_files import LoadedFile
from collector.procfs.packages import (
    APK,
    DISTROLESS,
    INFO,
    MAX_APK,
    MAX_FILES,
    MAX_STATUS,
    STATUS,
    Packages,
    rpm_headers,
)
from collector.procfs.reading import read_up_to

_OS_RELEASE = ("etc/os-release", "usr/lib/os-release")
_MAX_OS_RELEASE = 1 << 14
_MAX_STANZA = 1 << 16
_ARCHITECTURE, _SOURCE_RPM = 1022, 1044
_FIELD = re.compile(rb"^(Package|Status|Version|Architecture|Source): ([^\n]{1,300})$", re.MULTILINE)
_LINE = re.compile(rb"^([PVAo]):([^\n]{1,300})$", re.MULTILINE)
_SETTING = re.compile(r"""^(ID|VERSION_ID)=["']?([A-Za-z0-9._-]{1,64})["']?\s*$""", re.MULTILINE)
_SOURCE = re.compile(r"([^\s()]+)(?: \(([^()\s]+)\))?")
_SOURCE_RPM_NAME = re.compile(r"(.+)-([^-]+-[^-]+)\.(?:no)?src\.rpm")
_HAS_FILES = frozenset({"installed", "unpacked", "half-configured", "triggers-awaited", "triggers-pending"})
"""States in which the files of a package of dpkg are there. Source: dpkg(1)."""

MAX_CODE_FILES = 20_000
"""Files of a package whose kinds of code are read."""
_MAX_LIST = 4 << 20
_EXECUTABLE, _SHARED = 2, 3
_ELF = struct.Struct("=4s12xH")
_SCRIPTS = re.compile(
    r"\.(py|pyc|pyo|pl|pm|rb|php|phtml|js|mjs|cjs|lua|tcl|sh|bash|awk|el|elc|r|jar|war|class|ko|bpf)\Z"
)
Kind = Literal["mapped", "interpreted", ""]


@dataclass(frozen=True, slots=True)
class InstalledPackage:
    """A package as its database lists it."""

    manager: str
    """dpkg, apk or rpm."""
    name: str
    version: str
    """For rpm with the epoch, if there is one: 1:9.3-4.fc39."""
    arch: str
    source: str
    """The source package that it was built from; for apk the origin."""
    source_version: str


def owner_of_files(
    packages: Iterable[InstalledPackage], owners: Mapping[str, tuple[str, str]]
) -> Callable[[LoadedFile], InstalledPackage | None]:
    """Return a function that finds the package of a file of a root directory.

    Args:
        packages: those that its databases list.
        owners: for each path that one lists, the package manager and the name, perhaps with architecture.
    """
    by_name: dict[tuple[str, str], InstalledPackage] = {}
    for package in packages:
        by_name.setdefault((package.manager, package.name), package)
        # dpkg names packages that may be installed for several architectures so.
        by_name[package.manager, f"{package.name}:{package.arch}"] = package
    return lambda file: by_name.get(owners.get(file.path, ("", "")))


def responder(proc: str, host_root: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return the function that responds to queries: the pid whose root is meant, 0 for the host's, and paths in it."""
    packages = Packages()
    # As for programs: root may not always look at the first process.
    of_host = host_root if os.access(host_root, os.X_OK) else "/"

    def look(request: dict[str, Any]) -> dict[str, Any]:
        place = f"{proc}/{request['pid']}/root" if request["pid"] else of_host
        with closing(os.open(place, os.O_PATH | os.O_CLOEXEC)) as root:
            return {
                "installed": [asdict(each) for each in installed(root)],
                "owners": packages.owners(root, request["paths"]),
                "distribution": distribution(root),
            }

    return look


def installed(root: int) -> list[InstalledPackage]:
    """Return the packages that the databases below an open root directory list, at most MAX_FILES."""
    return [*islice((each for read in (_of_dpkg, _of_apk, _of_rpm) for each in read(root)), MAX_FILES)]


def distribution(root: int) -> tuple[str, str]:
    """Return ID and VERSION_ID of os-release(5); empty if they are unknown."""
    for path in _OS_RELEASE:
        read = read_below(root, path, limit=_MAX_OS_RELEASE)
        if read is not None:
            found = dict(_SETTING.findall(read[0].decode("utf-8", "replace")))
            return found.get("ID", ""), found.get("VERSION_ID", "")
    return "", ""


def _of_dpkg(root: int) -> Iterator[InstalledPackage]:
    read = read_below(root, STATUS, limit=MAX_STATUS)
    texts = [] if read is None else [read[0]]
    with suppress(OSError), closing(open_below(root, DISTROLESS)) as folder:
        own = os.open(f"/proc/self/fd/{folder}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        with closing(own) as listing, os.scandir(listing) as files:
            names = [each.name for each in islice(files, MAX_FILES) if not each.name.endswith(".md5sums")]
        lists = (read_below(folder, name, links=False, limit=_MAX_STANZA) for name in names)
        texts += [each[0] for each in lists if each is not None]
    for text in texts:
        for stanza in text.split(b"\n\n"):
            fields = {key: _text(value) for key, value in _FIELD.findall(stanza[:_MAX_STANZA])}
            # Images without dpkg state no status.
            state = fields.get(b"Status", "ok installed").rpartition(" ")[2]
            if b"Package" in fields and state in _HAS_FILES:
                source = _SOURCE.match(fields.get(b"Source", fields[b"Package"]))
                version = fields.get(b"Version", "")
                yield InstalledPackage(
                    "dpkg",
                    fields[b"Package"],
                    version,
                    fields.get(b"Architecture", ""),
                    "" if source is None else source[1],
                    version if source is None or source[2] is None else source[2],
                )


def _of_apk(root: int) -> Iterator[InstalledPackage]:
    read = read_below(root, APK, limit=MAX_APK)
    for stanza in [] if read is None else read[0].split(b"\n\n"):
        # The lines about the package come first, those about its files follow.
        fields = {key: _text(value) for key, value in _LINE.findall(stanza.partition(b"\nF:")[0][:_MAX_STANZA])}
        if b"P" in fields:
            version = fields.get(b"V", "")
            source = fields.get(b"o", fields[b"P"])
            yield InstalledPackage("apk", fields[b"P"], version, fields.get(b"A", ""), source, version)


def _of_rpm(root: int) -> Iterator[InstalledPackage]:
    for header in rpm_headers(root):
        with suppress(ValueError, IndexError, struct.error):
            source = _SOURCE_RPM_NAME.fullmatch(header.text(_SOURCE_RPM))
            name, arch = header.name, header.text(_ARCHITECTURE)
            # Keys that were imported are listed like packages.
            if name != "gpg-pubkey":
                of_source = ("", "") if source is None else (source[1], source[2])
                yield InstalledPackage("rpm", name, header.version, arch, *of_source)


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def mapped_responder(proc: str, host_root: str) -> Callable[[dict[str, Any]], list[bool]]:
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
        if number >= MAX_CODE_FILES or kind == "interpreted":
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
