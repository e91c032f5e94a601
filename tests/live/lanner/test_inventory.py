"""`lanner inventory` on this host and in containers, compared with dpkg and CycloneDX's schema."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests.live.containers import BUSYBOX_PROGRAM, Docker
from tests.live.lanner.watching import RULES, Watching
from tests.live.needs import lacking
from tests.live.rpm_root import RpmRoot

pytestmark = pytest.mark.live

APK = "P:busybox\nV:1.36.1-r15\nA:x86_64\no:busybox\nF:bin\nR:busybox\nZ:Q1AAAA\n\nP:musl\nV:1.2.4-r2\nA:x86_64\n\n"


def inventory(*arguments: str) -> list[dict[str, Any]]:
    """Return the components of a BOM, which is valid."""
    command = [sys.executable, "-m", "lanner", "inventory", *arguments]
    text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    found: list[dict[str, Any]] = json.loads(text)["components"]
    return found


def values(component: dict[str, Any], name: str) -> list[str]:
    """Return the values of a component's properties of a name."""
    return [each["value"] for each in component.get("properties", ()) if each["name"] == f"lanner:{name}"]


@contextmanager
def running(*command: str, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program until its input ends."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_what_a_process_has_mapped_is_listed_as_dpkg_lists_it() -> None:
    """A process that listens puts its packages first; each file is one of the package by dpkg."""
    listening = "import socket, sys\ns = socket.create_server(('0.0.0.0', 0))\nprint(flush=True)\ninput()"
    with running("unshare", "--net", "/usr/bin/python3", "-c", listening) as process:
        assert process.stdout is not None
        process.stdout.readline()
        components = inventory()
    own = [each for each in components if values(each, "root") == ["host"] and "purl" in each]
    facing = [values(each, "network_facing") == ["true"] for each in own]
    assert facing == sorted(facing, reverse=True)
    assert facing[0]
    version = subprocess.run(["dpkg-query", "-W", "-f=${Version}", "libc6"], capture_output=True, text=True, check=True)
    libc = next(each for each in own if each["name"] == "libc6")
    assert libc["version"] == version.stdout
    checked = 0
    for each in own[:20]:
        listed = subprocess.run(["dpkg", "-L", each["name"]], capture_output=True, text=True, check=True).stdout
        resolved = {os.path.realpath(path) for path in listed.split("\n")}
        for path in values(each, "file"):
            assert os.path.realpath(path) in resolved
            checked += 1
    assert checked > 20


def test_a_container_s_packages_are_those_of_its_own_database(docker: Docker) -> None:
    """By the name of its image, and alone if it is chosen by its own name."""
    with docker.running(docker.debian()) as name:
        image = docker.inspect(name, "{{.Config.Image}}")
        version = docker.exec(name, "dpkg-query", "-W", "-f=${Version}", "libc6")
        components = inventory("-o", f"collector.docker_socket={docker.socket}", "--container", name)
    container, *packages = components
    assert (container["type"], container["name"], values(container, "container")) == ("container", image, [name])
    assert {value for each in packages for value in values(each, "root")} == {image}
    libc = next(each for each in packages if each["name"] == "libc6")
    assert libc["version"] == version
    assert libc["purl"].startswith("pkg:deb/debian/libc6@")


def test_a_root_directory_of_alpine_is_read_by_a_process_in_it(tmp_path: Path) -> None:
    """As after chroot; its database may name paths that lead out of it, or nowhere."""
    for path in ("bin", "lib/apk/db", "etc"):
        (tmp_path / path).mkdir(parents=True)
    (tmp_path / "bin/busybox").write_bytes(BUSYBOX_PROGRAM.read_bytes())
    (tmp_path / "bin/busybox").chmod(0o755)
    (tmp_path / "lib/apk/db/installed").write_text(APK)
    (tmp_path / "etc/os-release").write_text("ID=alpine\nVERSION_ID=3.19.1\n")
    (tmp_path / "var").symlink_to("/var")
    with running("chroot", str(tmp_path), "/bin/busybox", "sh", "-c", "echo; read x") as process:
        assert process.stdout is not None
        process.stdout.readline()
        components = inventory()
    (found,) = [each for each in components if each.get("purl", "").startswith("pkg:apk/")]
    assert found["purl"] == "pkg:apk/alpine/busybox@1.36.1-r15?arch=x86_64&distro=alpine-3.19.1"
    assert values(found, "file") == ["/bin/busybox"]
    assert values(found, "root") == [f"root {tmp_path}"]


def test_a_root_directory_that_rpm_made_is_listed_as_rpm_lists_it(tmp_path: Path) -> None:
    """With epoch, and once, although the source package has the same name."""
    if not shutil.which("rpmbuild"):
        lacking("there is no rpmbuild")
    machine = RpmRoot(tmp_path)
    machine.install("busybox", "1.36.1", {"/usr/bin/busybox": BUSYBOX_PROGRAM.read_bytes()}, epoch=2)
    machine.install("other", "1", {"/usr/bin/other": b"x"})
    with running("chroot", str(machine.root), "/usr/bin/busybox", "sh", "-c", "echo; read x") as process:
        assert process.stdout is not None
        process.stdout.readline()
        components = inventory()
    (found,) = [each for each in components if each.get("purl", "").startswith("pkg:rpm/")]
    query = ("--query", "busybox", "--queryformat", "%{NAME}@%{VERSION}-%{RELEASE}?arch=%{ARCH}&epoch=%{EPOCH}")
    assert found["purl"] == f"pkg:rpm/{machine.rpm(*query)}"
    assert values(found, "file") == ["/usr/bin/busybox"]


def test_what_no_process_had_loaded_for_a_while_is_not_affected(tmp_path: Path) -> None:
    """In a pid namespace all of whose processes can be read; without --observe, nothing is stated of it."""
    purls = ("pkg:deb/debian/libc6", "pkg:deb/debian/libxml2", "pkg:deb/debian/git", "pkg:deb/debian/no-such")
    matches = [{"vulnerability": {"id": f"CVE-{each[15:]}"}, "artifact": {"purl": each}} for each in purls]
    (tmp_path / "scan.json").write_text(json.dumps({"matches": matches}))
    ours = (sys.executable, "-m", "lanner", "inventory", "--vulnerabilities", str(tmp_path / "scan.json"))
    observing = ("unshare", "--pid", "--fork", "--mount-proc", "sh", "-c", 'sleep 600 & "$@"', "sh", *ours)
    done = subprocess.run((*observing, "--observe", "1s"), capture_output=True, text=True, check=True, timeout=60)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(done.stdout) is None
    states = {each["id"]: each["analysis"]["state"] for each in json.loads(done.stdout)["vulnerabilities"]}
    # git has scripts.
    assert states == {"CVE-libc6": "in_triage", "CVE-libxml2": "not_affected", "CVE-git": "in_triage"}
    assert "1 of 4 vulnerabilities of packages" in done.stderr
    table = subprocess.run((*ours, "--format", "table"), capture_output=True, text=True, check=True, timeout=60)
    assert "not_affected" not in table.stdout


@contextmanager
def serving(address: str, marked: Path) -> Iterator[None]:
    """Serve in a network namespace of its own, and have children read a file again and again."""
    code = (
        "import socket, subprocess, sys, time\ns = socket.create_server((sys.argv[1], 0))\n"
        "while True:\n    subprocess.run(['cat', sys.argv[2]])\n    time.sleep(0.3)"
    )
    own = ("unshare", "--net", "--kill-child", "--fork", "sh", "-c", 'ip link set lo up; exec "$@"', "sh")
    with running(*own, "/usr/bin/python3", "-c", code, address, str(marked)):
        yield


def version_of_python() -> str:
    """Return the version of the package of Debian's Python."""
    query = ["dpkg-query", "-W", "-f=${Version}", "python3.11-minimal"]
    return subprocess.run(query, capture_output=True, text=True, check=True).stdout


def test_an_alert_names_the_server_that_its_process_came_through(tmp_path: Path) -> None:
    """A server in a network namespace of its own runs a program; one that nobody reaches is none."""
    (tmp_path / "rules.yaml").write_text(RULES)
    reached, unreached = (tmp_path / f"{name}.lanner-mark" for name in ("reached", "unreached"))
    reached.touch()
    unreached.touch()
    options = ("-r", tmp_path / "rules.yaml", "-o", "collector.server_packages=true", "--format", "text")
    quiet = ("-o", "repeated_alerts.enabled=false")
    with serving("127.0.0.1", unreached), serving("0.0.0.0", reached), Watching("run", *options, *quiet) as lanner:
        line = lanner.out.wait_for("listens on")
        lanner.out.wait_for(str(unreached))
        assert lanner.end() == 0
    assert f"python3 (package python3.11-minimal {version_of_python()}), listens on tcp 0.0.0.0:" in line
    alerts = lanner.out.text.split("Marked file read")
    assert not [text for text in alerts if "listens on" in text and str(unreached) in text]
