"""Lists the packages of a root directory, and which of them brought files, from the databases of dpkg, apk and rpm.

Runs in the look-up server: a container decides what its databases contain, and the disk may not respond.
"""

import os
import re
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

from collector.procfs.foreign_files import closing, open_below, read_below
from collector.procfs.loaded_files import LoadedFile
from collector.procfs.packages import APK, DISTROLESS, MAX_APK, MAX_FILES, MAX_STATUS, STATUS, Packages, rpm_headers

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
