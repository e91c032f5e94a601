"""Some real action, on the host or in a container, fills every field documented as filled live."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from collector.records import tls
from collector.records.dns import DnsAnswer, written
from collector.settings import CollectorSettings
from processor.fields.availability import CAVEATS, FROM_API
from processor.fields.extract import extract, is_filled
from schemas.catalog.fields import FIELDS
from schemas.filter import EVERY_VARIABLE, OPENED_FILES, PROGRAM_FILES
from tests.live.collector.watching import watching
from tests.live.containers import Docker

pytestmark = pytest.mark.containers

ARGUMENTS = {
    "evt.type.is": "openat",
    "evt.arg": "res",
    "evt.rawarg": "res",
    "evt.abspath": "",
    "proc.env": "LANNER_TEST",
    "proc.aenv": "LANNER_TEST",
    "thread.cgroup": "cpuset",
    "container.mount": "0",
    "container.mount.source": "/data",
    "container.mount.dest": "*",
    "container.mount.mode": "0",
    "container.mount.rdwr": "0",
    "container.mount.propagation": "0",
    "container.label": "tier",
    "k8s.pod.label": "tier",
}
ACTIONS = """
import os, socket, sys
os.chdir(sys.argv[1])
open("a", "w").close(); os.rename("a", "b"); os.symlink("b", "c"); os.chmod("b", 0o700)
fd = os.open("b", os.O_RDWR | os.O_CREAT); os.write(fd, b"hello"); os.read(fd, 5)
for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
    server = socket.socket(family); server.bind((address, 0)); server.listen()
    client = socket.socket(family); client.connect(server.getsockname()[:2]); peer, _ = server.accept()
    client.send(b"x"); peer.recv(1)
try: os.open("/nothing", os.O_RDONLY)
except OSError: pass
import mmap
try: mmap.mmap(-1, 2**46)
except OSError: pass
try: os.kill(2**22 + 5, 0)
except OSError: pass
log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
log.bind(sys.argv[1] + "/dev"); log.connect(sys.argv[1] + "/dev")
log.send(b"x")
# Other tests have name servers, too.
address = f"127.1.{os.getpid() >> 8 & 255}.{os.getpid() & 255}"
name_server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); name_server.bind((address, 53))
asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); asking.connect((address, 53))
name_server.sendto(bytes.fromhex(sys.argv[2]), asking.getsockname()); asking.recv(500)
client.send(bytes.fromhex(sys.argv[3]))
"""
ANSWER = written(DnsAnswer("example.org", "A", "NOERROR", ("192.0.2.1",)))
HELLO = tls.written("example.org")
NOT_BY_AN_ACT_HERE = {
    "container.host_ipc": "this machine runs no container of the host's IPC namespace",
    "fd.is_lower_layer": "needs a file of an image that nothing has touched, on overlayfs with whiteouts",
    "k8s.pod.ip": "it is that of the sandbox container, and there is no kubelet here to make one",
    "container.image.digest": "an image that never was in a registry has none",
    **dict.fromkeys(
        ("fd.cip.name", "fd.sip.name", "fd.lip.name", "fd.rip.name"),
        "they are names that rules give hosts, or that users look up: test_looked_up_names.py",
    ),
    "container.ip": "these containers share the host's network",
    **{field: caveat for field, caveat in CAVEATS.items() if caveat == FROM_API},
}


def test_every_field_that_is_declared_live_is_filled(docker: Docker, tmp_path: Path) -> None:
    """One run of many actions; the failure names the fields missing in all events."""
    settings = CollectorSettings(
        docker_socket=docker.socket, variables=frozenset({EVERY_VARIABLE, PROGRAM_FILES, OPENED_FILES})
    )
    types = (
        *("open", "openat", "rename", "symlink", "chmod", "read", "write", "socket", "bind", "listen", "connect"),
        *("accept4", "sendto", "recvfrom", "execve", "kill", "mmap", "clone", "clone3", "memfd_create", "unlinkat"),
    )
    options = ["-v", f"{tmp_path}:/data:ro", "--label", "tier=front", "--user", "1000"]
    labels = ["io.kubernetes.pod.name=p", "io.kubernetes.pod.namespace=n", "io.kubernetes.pod.uid=u"]
    labels.append(f"io.kubernetes.sandbox.id={'ab' * 32}")
    options += [part for label in labels for part in ("--label", label)]
    with watching(*types, settings=settings) as watch, docker.running(docker.busybox(), *options) as name:
        worker = subprocess.Popen(
            [*docker.daemon.client_command("exec", "-t", name, "cat", "/etc/passwd")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        environment = {**os.environ, "LANNER_TEST": "yes"}
        watch.run(sys.executable, "-I", "-c", ACTIONS, str(tmp_path), ANSWER.hex(), HELLO.hex(), env=environment)
        watch.run("/bin/sh", "-c", 'cp /bin/true "$0"; "$0"', str(tmp_path / "copied"))
        scripts = 'echo true >"$0.sh"; /bin/sh "$0.sh"; echo >"$0.py"; /usr/bin/python3 "$0.py"; ldd /bin/true; true'
        watch.run("/bin/sh", "-c", scripts, str(tmp_path / "made"))
        watch.run("/bin/sh", "-c", "echo 0 > /proc/self/loginuid; exec cat /etc/hostname")
        watch.run("/bin/sh", "-c", "/usr/bin/python3 -c 'open(\"/etc/hostname\")'; true", env=environment)
        deadline = time.monotonic() + 20
        while worker.poll() is None and time.monotonic() < deadline:
            watch.collector.poll(0.05)
        watch.settle()
        events = list(watch.all())

    missing = []
    for field in FIELDS.values():
        if not is_filled(field.name) or field.deprecated or field.filter_only or field.name in NOT_BY_AN_ACT_HERE:
            continue
        argument = ARGUMENTS.get(field.name)
        if field.name == "evt.abspath":
            continue
        if not any(extract(e.batch, e.index, field.name, argument) is not None for e in events):
            missing.append(field.name)
    assert not missing, " ".join(missing)
