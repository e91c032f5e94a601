from collector.procfs.installed_packages import InstalledPackage
from collector.procfs.loaded_files import LoadedFile
from lanner.inventory.loaded import HOST, LoadedBy, ReadProcess, RootPackages, loaded_packages
from schemas.batch import Container

SSL = InstalledPackage("dpkg", "libssl3", "3.0.11-1", "amd64", "openssl", "3.0.11-1")
SSL_386 = InstalledPackage("dpkg", "libssl3", "3.0.11-1", "i386", "openssl", "3.0.11-1")
BASH = InstalledPackage("dpkg", "bash", "5.2", "amd64", "bash", "5.2")
VIM = InstalledPackage("dpkg", "vim", "9", "amd64", "vim", "9")
OWNERS = {"/usr/lib/libssl.so.3": ("dpkg", "libssl3:amd64"), "/usr/bin/bash": ("dpkg", "bash")}
PACKAGES = RootPackages((SSL_386, SSL, BASH, VIM), OWNERS, ("debian", "12"))
LIBRARY, SHELL = LoadedFile("/usr/lib/libssl.so.3", is_deleted=False), LoadedFile("/usr/bin/bash", is_deleted=False)


def process(pid: int, name: str, *files: LoadedFile, root: tuple[int, ...] = HOST, port: str = "") -> ReadProcess:
    """Return a process that has loaded files."""
    return ReadProcess(pid, name, 0, root, "", files, (port,) if port else ())


def test_what_a_network_facing_process_has_loaded_comes_first() -> None:
    """Before what more processes have loaded; a port of the loopback address doesn't count."""
    processes = [
        *(process(pid, "bash", SHELL) for pid in range(9)),
        process(10, "db", SHELL, port="tcp 127.0.0.1:5432"),
        process(11, "nginx", SHELL, LIBRARY, LoadedFile("/opt/own", is_deleted=False), port="tcp 0.0.0.0:443"),
        process(12, "nginx", LoadedFile("/usr/lib/libssl.so.3", is_deleted=True)),
    ]
    (root,) = loaded_packages(processes, {HOST: PACKAGES}, {})
    assert (root.name, root.is_host, root.distribution, root.unlisted) == ("host", True, ("debian", "12"), 1)
    assert [(use.package, use.is_network_facing, use.is_replaced) for use in root.uses] == [
        (BASH, True, False),
        (SSL, True, True),
    ]
    assert root.uses[1].loaders == (LoadedBy("nginx", 2, (0,), ("tcp 0.0.0.0:443",)),)
    assert [loader.name for loader in root.uses[0].loaders] == ["nginx", "bash", "db"]
    assert root.others == (SSL_386, VIM)


def test_containers_of_an_image_are_one_root() -> None:
    """A package that one of them has in another version is listed twice."""
    newer = RootPackages((InstalledPackage("dpkg", "bash", "5.3", "amd64", "bash", "5.3"),), OWNERS)
    containers = {
        (1, number): Container(f"c{number}", f"c{number}", "docker", name=f"web{number}", image="web:1", image_id="ab")
        for number in (1, 2, 3)
    }
    containers[1, 3] = Container("c3", "c3", "docker")
    processes = [process(number, "bash", SHELL, root=(1, number)) for number in (1, 2, 3, 4)]
    roots = loaded_packages(processes, {(1, 1): PACKAGES, (1, 2): newer, (1, 4): PACKAGES}, containers)
    assert [(root.name, root.version, root.containers) for root in roots] == [
        ("c3", "", ("c3",)),
        ("root 1:4", "", ("root 1:4",)),
        ("web:1", "ab", ("web1", "web2")),
    ]
    assert [use.package.version for use in roots[2].uses] == ["5.2", "5.3"]
    assert [each.unlisted for each in roots] == [1, 0, 0]
