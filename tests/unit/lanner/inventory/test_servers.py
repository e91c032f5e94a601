import os
from collections.abc import Mapping

from collector.procfs.installed_packages import InstalledPackage
from collector.procfs.loaded_files import LoadedFile
from collector.procfs.look_ups import LookUps
from lanner.inventory.loaded import HOST, ReadProcess, RootPackages
from lanner.inventory.servers import MAX_LIBRARIES, MAX_WAITING, SECONDS, ServerPackages, descent, server_fields
from notifier.formats.ecs import document
from notifier.formats.facts import facts
from schemas.alert import Alert, Value

NGINX = InstalledPackage("dpkg", "nginx", "1.22.1-9", "amd64", "nginx", "1.22.1-9")
LIBRARIES = tuple(InstalledPackage("dpkg", f"lib{number}", "1", "amd64", "x", "1") for number in range(100))
PATHS = {"/usr/sbin/nginx": ("dpkg", "nginx"), **{f"/lib/{each.name}": ("dpkg", each.name) for each in LIBRARIES}}


def alert(**event: Value) -> Alert:
    """Return an alert with fields of its event."""
    return Alert("1", 1, "r", "Notice", "o", {}, event={name.replace("__", "."): each for name, each in event.items()})


def server(*paths: str) -> dict[str, Value]:
    """Return the fields of a server that has loaded files."""
    files = tuple(LoadedFile(path, is_deleted=False) for path in paths)
    process = ReadProcess(7, "nginx\n", 0, HOST, "", files, ("tcp 0.0.0.0:80",) * 9)
    return server_fields(process, RootPackages((NGINX, *LIBRARIES), PATHS))


def test_the_first_process_is_nobodys_server() -> None:
    """The others count in the order of descent, as far as the event has them."""
    event: Mapping[str, Value] = {"proc.pid": 9, "proc.name": "sh", "proc.ppid": 8, "proc.pname": "php"}
    event = {**event, "proc.apid[2]": 7, "proc.aname[2]": "nginx", "proc.apid[3]": 1, "proc.aname[3]": "systemd"}
    found = Alert("1", 1, "r", "Notice", "o", {}, event=event)
    assert [*descent(found)] == [(9, "sh"), (8, "php"), (7, "nginx")]
    assert [*descent(alert(k8s__ns="x"))] == []


def test_a_server_has_the_package_of_its_program_and_bounded_libraries() -> None:
    """A program of no package has libraries all the same."""
    found = server("/usr/sbin/nginx", *PATHS, "/opt/x")
    assert (found["proc.server.name"], found["proc.server.pid"]) == ("nginx\\n", 7)
    assert (found["proc.server.package"], found["proc.server.package.version"]) == ("nginx", "1.22.1-9")
    libraries, listening = found["proc.server.libraries"], found["proc.server.listening"]
    assert isinstance(libraries, tuple)
    assert isinstance(listening, tuple)
    assert (len(libraries), libraries[0], len(listening)) == (MAX_LIBRARIES, "lib0 1", 8)
    own = server("/opt/nginx", "/lib/lib3")
    assert "proc.server.package" not in own
    assert own["proc.server.libraries"] == ("lib3 1",)
    assert server() == {name: found[name] for name in ("proc.server.name", "proc.server.pid", "proc.server.listening")}


def test_alerts_state_the_server() -> None:
    """As a line for people, and below `falco` in ECS's documents."""
    made = Alert("1", 1, "r", "Notice", "o", {}, event={"proc.name": "sh", **server("/usr/sbin/nginx", "/lib/lib3")})
    label = dict(facts(made))["server"]
    assert label.startswith("nginx\\n (package nginx 1.22.1-9), listens on tcp 0.0.0.0:80")
    stated = document(made)["falco"]["server"]
    assert (stated["package"], stated["package_version"], stated["libraries"]) == ("nginx", "1.22.1-9", ("lib3 1",))
    assert "server" not in document(alert(proc__name="sh"))["falco"]


def test_alerts_wait_in_order_and_no_longer_than_they_may() -> None:
    """Those without a process, and those beyond a limit, don't wait; all are returned at the end."""
    servers = ServerPackages(LookUps(timeout=SECONDS))
    try:
        assert not servers.take(alert(ka__verb="get"), 0.0)
        # This process doesn't listen, and no process has the other name.
        every = [alert(proc__pid=os.getpid(), proc__name=name) for name in ("pytest", "other")] * MAX_WAITING
        taken = [each for each in every if servers.take(each, 1e9)]
        assert taken == every[:MAX_WAITING]
        assert servers.is_waiting
        late = servers.poll(2e9)
    finally:
        late += servers.close()
    assert late == taken
    assert not servers.is_waiting
