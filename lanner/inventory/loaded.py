"""Finds out which packages the files come from that processes have loaded: pure functions over what was read.

"Loaded" means that a living process runs a file of the package or has one mapped.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from collector.procfs.installed_packages import InstalledPackage, owner_of_files
from collector.procfs.loaded_files import LoadedFile, is_network_facing
from foundation.text import count_of, printable
from schemas.batch import Container

RootKey = tuple[int, ...]
"""Device and inode of a root directory; empty for the host's."""
HOST: RootKey = ()


@dataclass(frozen=True, slots=True)
class ReadProcess:
    """A process as it was read."""

    pid: int
    name: str
    uid: int
    root: RootKey
    root_path: str
    """Where its root directory is, as this program's mount namespace has it; empty if that is unknown."""
    files: tuple[LoadedFile, ...]
    listening: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RootPackages:
    """The packages of a root directory, as its databases list them."""

    installed: tuple[InstalledPackage, ...] = ()
    owners: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """For each path that a package lists, the package manager and the package's name, perhaps with architecture."""
    distribution: tuple[str, str] = ("", "")
    """ID and VERSION_ID of os-release(5)."""


@dataclass(frozen=True, slots=True)
class LoadedBy:
    """The processes of one name that have loaded files of a package."""

    name: str
    count: int
    uids: tuple[int, ...]
    listening: tuple[str, ...]
    """Such as tcp 0.0.0.0:22."""

    @property
    def is_network_facing(self) -> bool:
        """True if one listens at an address that other machines may reach."""
        return any(map(is_network_facing, self.listening))


@dataclass(frozen=True, slots=True)
class PackageUse:
    """A package of a root directory, and the processes that have loaded it."""

    package: InstalledPackage
    loaders: tuple[LoadedBy, ...] = ()
    """Empty if it is installed only. Network-facing ones first, then the most frequent."""
    files: tuple[LoadedFile, ...] = ()

    @property
    def is_loaded(self) -> bool:
        """True if a living process has loaded it."""
        return bool(self.files)

    @property
    def is_network_facing(self) -> bool:
        """True if a process that listens on the network has loaded it."""
        return any(loader.is_network_facing for loader in self.loaders)

    @property
    def is_replaced(self) -> bool:
        """True if a process has a file that was removed or replaced since: its version is unknown, and likely older."""
        return any(file.is_deleted for file in self.files)


@dataclass(frozen=True, slots=True)
class Root:
    """The host, or the containers of one image: what is installed there, and what of it is loaded."""

    name: str
    """"host", the image's name, or that of the container if its image is unknown."""
    version: str
    """The image's digest; empty if it is unknown."""
    containers: tuple[str, ...]
    distribution: tuple[str, str]
    uses: tuple[PackageUse, ...]
    """Loaded packages: network-facing ones first, then those of most processes."""
    others: tuple[InstalledPackage, ...]
    """Packages that are installed and not loaded."""
    unlisted: int
    """Loaded files that no package lists."""
    keys: tuple[RootKey, ...] = (HOST,)
    """Its root directories: one for each container."""

    @property
    def is_host(self) -> bool:
        """True for the host's own root directory."""
        return not self.containers


@dataclass(slots=True)
class _Gathered:
    loaders: dict[str, list[ReadProcess]] = field(default_factory=lambda: defaultdict(list))
    files: dict[LoadedFile, None] = field(default_factory=dict)


def loaded_packages(
    processes: Iterable[ReadProcess], packages: Mapping[RootKey, RootPackages], containers: Mapping[RootKey, Container]
) -> list[Root]:
    """Return the host and the images of its containers, with the packages that their processes have loaded.

    Args:
        processes: all that were read.
        packages: of each root directory whose databases could be read.
        containers: of each root directory that is a container's. One with the same image as another counts as the same.
    """
    grouped: dict[tuple[str, str], dict[RootKey, list[ReadProcess]]] = defaultdict(lambda: defaultdict(list))
    for process in processes:
        identity = _identity(process, containers.get(process.root))
        grouped[identity][process.root].append(process)
    roots = [_root(identity, members, packages, containers) for identity, members in grouped.items()]
    return sorted(roots, key=lambda root: (not root.is_host, root.name, root.version))


def _identity(process: ReadProcess, container: Container | None) -> tuple[str, str]:
    if process.root == HOST:
        return "host", ""
    if container is None:
        return f"root {printable(process.root_path) or ':'.join(map(str, process.root))}", ""
    image = container.image or container.image_repository or ""
    digest = container.image_digest or container.image_id or ""
    return printable(image or container.name or container.id), printable(digest)


def _root(
    identity: tuple[str, str],
    members: Mapping[RootKey, Sequence[ReadProcess]],
    packages: Mapping[RootKey, RootPackages],
    containers: Mapping[RootKey, Container],
) -> Root:
    gathered: dict[InstalledPackage, _Gathered] = defaultdict(_Gathered)
    installed: dict[InstalledPackage, None] = {}
    unlisted: set[str] = set()
    distribution, names = ("", ""), set()
    for key, processes in members.items():
        known = packages.get(key, RootPackages())
        distribution = known.distribution if any(known.distribution) else distribution
        installed |= dict.fromkeys(known.installed)
        owner = owner_of_files(known.installed, known.owners)
        container = containers.get(key)
        if key != HOST:
            names.add(printable(container.name or container.id) if container else identity[0])
        for process in processes:
            found: dict[InstalledPackage, None] = {}
            for file in process.files:
                package = owner(file)
                if package is None:
                    unlisted.add(file.path)
                else:
                    gathered[package].files[file] = None
                    found[package] = None
            for package in found:
                gathered[package].loaders[process.name].append(process)
    uses = [_use(package, each) for package, each in gathered.items()]
    return Root(
        *identity,
        tuple(sorted(names)),
        distribution,
        tuple(sorted(uses, key=lambda use: (not use.is_network_facing, -_count(use), use.package.name))),
        tuple(sorted(installed.keys() - gathered.keys(), key=lambda package: (package.name, package.arch))),
        len(unlisted),
        tuple(members),
    )


def _use(package: InstalledPackage, gathered: _Gathered) -> PackageUse:
    loaders = [
        LoadedBy(
            printable(name),
            len(processes),
            tuple(sorted({process.uid for process in processes})),
            tuple(sorted({each for process in processes for each in process.listening})),
        )
        for name, processes in gathered.loaders.items()
    ]
    loaders.sort(key=lambda loader: (not loader.is_network_facing, -loader.count, loader.name))
    return PackageUse(package, tuple(loaders), tuple(sorted(gathered.files, key=lambda file: file.path)))


def _count(use: PackageUse) -> int:
    return sum(loader.count for loader in use.loaders)


def loader_text(loader: LoadedBy) -> str:
    """Return the processes of a name as a text: sshd, 2 processes, uid 0, listens on tcp 0.0.0.0:22."""
    uids = _some([str(uid) for uid in loader.uids])
    text = f"{loader.name}, {count_of(loader.count, 'process', 'processes')}, uid {uids}"
    return f"{text}, listens on {_some(loader.listening)}" if loader.listening else text


def _some(texts: Iterable[str], limit: int = 8) -> str:
    every = list(texts)
    return ", ".join(every[:limit]) + (" ..." if len(every) > limit else "")
