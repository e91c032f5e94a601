"""Alerts of every shape: a file, an exec in a pod, a connection, an internal one, a summary, one with nothing."""

from dataclasses import replace
from typing import Any

from schemas.alert import Alert, Repeats, Window
from tests.unit.alerts import TIME, alert

PROCESS: dict[str, Any] = {
    "proc.pid": 4242,
    "proc.pid.ts": TIME - 10**9,
    "proc.name": "cat",
    "proc.exepath": "/usr/bin/cat",
    "proc.exe.sha256": "5a" * 32,
    "proc.exe.origin": "package",
    "proc.exe.package": "coreutils",
    "proc.exe.package.version": "9.1-1",
    "proc.cmdline": "cat /etc/shadow",
    "proc.cwd": "/root/",
    "proc.ppid": 4000,
    "proc.ppid.ts": TIME - 10**11,
    "proc.pname": "bash",
    "proc.pexepath": "/usr/bin/bash",
    "proc.pcmdline": "bash",
    "proc.sid": 4000,
    "proc.pgid": 4242,
    "proc.tty": 34817,
    "proc.apid[2]": 1,
    "proc.aname[2]": "systemd",
    "process.args": ("cat", "/etc/shadow"),
    "process.session_leader.start": TIME - 10**11,
    "process.session_leader.name": "bash",
    "process.session_leader.executable": "/usr/bin/bash",
    "process.group_leader.start": TIME - 10**9,
    "process.entry_leader.pid": 4000,
    "process.entry_leader.start": TIME - 10**11,
    "process.entry_leader.name": "bash",
    "event.created": TIME + 10**8,
    "agent.version": "0.4.0",
    "host.os.name": "Debian GNU/Linux 12 (bookworm)",
    "host.architecture": "x86_64",
    "host.ip": ("10.0.0.5", "2001:db8::5"),
    "host.os.kernel": "6.1.0-18-amd64",
    "thread.tid": 4242,
    "user.uid": 0,
    "user.name": "root",
    "group.gid": 0,
    "group.name": "root",
    "container.id": "host",
    "container.name": "host",
    "evt.failed": False,
}
POD: dict[str, Any] = {
    "container.id": "0123456789ab",
    "container.name": "shop",
    "container.type": "docker",
    "container.image.repository": "registry.example/shop",
    "container.image.tag": "1.2",
    "container.image.id": "sha256:00",
    "container.image.digest": f"sha256:{'1' * 64}",
    "k8s.pod.name": "shop-7",
    "k8s.pod.uid": "0b1f2a3c-1111-4222-8333-444455556666",
    "k8s.ns.name": "prod",
}
OPEN = {"evt.type": "openat", "fd.type": "file", "fd.name": "/etc/shadow", "fd.filename": "shadow", "fd.ino": 817}
CONNECT = {
    "evt.type": "connect",
    "fd.type": "ipv4",
    "fd.cip": "10.0.0.5",
    "fd.cport": 40000,
    "fd.sip": "192.0.2.7",
    "fd.sport": 4444,
    "fd.l4proto": "tcp",
    "fd.name": "10.0.0.5:40000->192.0.2.7:4444",
}
ANSWER = {
    **CONNECT,
    "evt.type": "recvfrom",
    "fd.sport": 53,
    "fd.sip.name": "ns.example.net",
    "dns.question.name": "www.example.org",
    "dns.question.registered_domain": "example.org",
    "dns.question.type": "AAAA",
    "dns.response_code": "NOERROR",
    "dns.answers": "edge.example.net 2001:db8::9",
}
HELLO = {
    **CONNECT,
    "evt.type": "sendto",
    "fd.cip.name": "a.example",
    "tls.client.server_name": "c2.example",
    "proc.exe.origin": "dropped",
    "proc.exe.package": None,
    "proc.exe.written_by": "curl",
    "proc.exe.written_by.user": "ann",
    "proc.exe.written_at": TIME - 40 * 10**9,
    "proc.script.path": "/tmp/x.sh",
    "proc.script.sha256": "6b" * 32,
}
LIBRARY = {
    **OPEN,
    "fd.name": "/tmp/x.so",
    "fd.file.sha256": "7c" * 32,
    "fd.file.origin": "modified",
    "fd.file.package": "libx",
    "fd.file.package.version": "1",
    "fd.file.written_by": "dd",
    "fd.file.written_by.user": "ann",
    "fd.file.written_at": TIME - 10**9,
}
INDICATOR = {
    "indicator.name": "192.0.2.7",
    "indicator.kind": "address",
    "indicator.description": "Emotet",
    "indicator.list": "servers",
    "indicator.source": "a feed",
}
TAGS = ("T1003.008", "T1059", "mitre_credential_access", "host")
_FILE = alert(event=PROCESS | OPEN, tags=TAGS, host_id="3d12", description="Hashes are read.", response="Look.")

LOADED = alert(event=PROCESS | LIBRARY, output_fields={"fd.file.sha256": "7c" * 32})
LATER = alert(
    event=PROCESS | CONNECT, output_fields=INDICATOR | {"indicator.found_later": "2026-12-01T10:00:00.000000000Z"}
)
CORPUS: tuple[Alert, ...] = (
    _FILE,
    alert(event=PROCESS | POD | {"evt.type": "execve"}, priority="Critical", host_id="3d12", cluster_name="eu-1"),
    alert(event=PROCESS | CONNECT, priority="Notice", host_id="3d12"),
    alert(event=PROCESS | OPEN | {"evt.is_open_write": True, "fd.directory": "/etc"}, priority="Debug"),
    alert(
        event=PROCESS | {"evt.type": "unlinkat", "fs.path.name": "/tmp/log"},
        priority="Emergency",
        window=Window(20, TIME - 10**9, TIME),
    ),
    alert(event=PROCESS | {"evt.type": "ptrace"}, priority="Error"),
    replace(_FILE, id="second", repeats=Repeats(_FILE.id, 412, TIME, TIME + 10**10, 6 * 10**11)),
    alert(source="internal", rule="Lanner internal: events lost", output_fields={"ring": 7}, event={}),
    alert(event=PROCESS | POD | {"k8s.pod.uid": "0123456789abcdef"}),
    alert(event={}, tags=(), hostname="", output_fields={"list": ("a", "b")}),
    alert(event=PROCESS | CONNECT, output_fields=INDICATOR),
    alert(event=PROCESS, output_fields=INDICATOR | {"indicator.name": "2001:db8::/32", "indicator.description": None}),
    alert(event=PROCESS, output_fields=INDICATOR | {"indicator.kind": "name", "indicator.name": "bad.example"}),
    alert(event=PROCESS, output_fields=INDICATOR | {"indicator.kind": "digest", "indicator.name": "a" * 64}),
    alert(event=PROCESS, output_fields=INDICATOR | {"indicator.kind": "text", "indicator.name": "/opt/x"}),
    alert(event=PROCESS | ANSWER, output_fields={"dns.question.name": "www.example.org"}),
    alert(event=PROCESS | HELLO, output_fields={"tls.client.server_name": "c2.example"}),
)
