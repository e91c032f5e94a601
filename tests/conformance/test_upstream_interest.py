"""Events that upstream's rules detect pass the kernel's filter: one for each rule, with all 93 loaded."""

import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import pytest

from collector.pushdown import lay_out
from collector.records.types import Socket, Syscall
from processor.detection.detector import Detector
from processor.detection.view import BatchView
from processor.loading import load_rules, read_rule_files
from processor.pushdown.derive import derive
from processor.rule import RulesetOptions
from schemas.batch import Container
from tests.reference import conformance_dir, present
from tests.unit.collector.bpf.native import NativeKernel
from tests.unit.collector.calls import WHO, call, file, sock
from tests.unit.collector.events.test_build import ORIGIN, PROCESS, TIME, batch_of
from tests.unit.processor.plain_rules import DetectionRule

FILES = ("falco_rules.yaml", "falco-incubating_rules.yaml", "falco-sandbox_rules.yaml")
EXECS = frozenset({"execve", "execveat"})
WRITE, CREATE, TRUNCATE = 1, 0o101, 0o1001
CONTAINER = Container(id="0123456789ab", full_id="0123456789ab", type="docker", name="web", image_repository="web")
ALL_CAPABILITIES = (1 << 41) - 1
NEEDS_NAMES = ("Contact K8S API Server From Container", "Detect outbound connections to common miner pool ports")
"""Rules that match addresses by DNS names, whose addresses change over time."""


@dataclass(frozen=True, slots=True)
class Act:
    """One call by one process."""

    made: Syscall
    process: Mapping[str, Any]
    in_container: bool


def act(made: Syscall, name: str = "intruder", *, in_container: bool = False, **process: Any) -> Act:
    """Return a call by a process of this name."""
    return Act(made, {"name": name, "exe": name, **process}, in_container)


def opened(path: str, flags: int = 0, *, real: str | None = None, mode: int = 0o644) -> Syscall:
    """Return an open that succeeded."""
    facts = file(real or path, is_created=bool(flags & 0o100))
    return call("openat", [0, 0, flags, mode], result=3, fd=3, file=facts, path1=path)


def connected(ip: str, port: int, *, to: Socket | None = None) -> Syscall:
    """Return a connect that succeeded."""
    address = struct.pack("<H", 2) + port.to_bytes(2, "big") + socket.inet_aton(ip) + bytes(8)
    ends = to or sock(local_ip="10.0.0.1", local_port=40000, remote_ip=ip, remote_port=port, state=1)
    return call("connect", [5], fd=5, socket=ends, blob1=address)


ACCEPTED = call(
    "accept4",
    [4],
    result=5,
    fd=5,
    socket=sock(local_ip="10.0.0.1", local_port=8000, remote_ip="8.8.8.8", remote_port=40000, state=1),
)
UDP = sock(type=2, protocol=17, local_ip="10.0.0.1", local_port=40000, remote_ip="8.8.8.8", remote_port=5555)
ANN = replace(WHO, uid=1000)

ACTIONS = {
    "Directory traversal monitored file read": act(opened("/srv/../../etc/passwd", real="/etc/passwd")),
    "Read sensitive file trusted after startup": act(opened("/etc/shadow"), "nginx"),
    "Read sensitive file untrusted": act(opened("/etc/shadow"), "cat"),
    "Clear Log Activities": act(opened("/var/log/syslog", TRUNCATE)),
    "Create Symlink Over Sensitive Files": act(call("symlink", path1="/etc/shadow", path2="/tmp/x")),
    "Create Hardlink Over Sensitive Files": act(call("link", path1="/etc/shadow", path2="/tmp/x")),
    "Packet socket created in container": act(
        call("socket", [17, 3], result=3, fd=3, socket=sock(17)), in_container=True
    ),
    "Redirect STDOUT/STDIN to Network Connection in Container": act(
        call("dup2", [5, 1], result=1, fd=1, socket=sock()), in_container=True
    ),
    "Linux Kernel Module Injection Detected": act(
        call("finit_module"), in_container=True, cap_effective=ALL_CAPABILITIES
    ),
    "Detect release_agent File Container Escapes": act(
        opened("/tmp/cgrp/release_agent", WRITE), in_container=True, cap_effective=ALL_CAPABILITIES
    ),
    "PTRACE attached to process": act(call("ptrace", [16, 1])),
    "PTRACE anti-debug attempt": act(call("ptrace", [0])),
    "Disallowed SSH Connection Non Standard Port": act(connected("8.8.8.8", 443), "ssh"),
    "Modify Shell Configuration File": act(opened("/root/.bashrc", WRITE)),
    "Schedule Cron Jobs": act(opened("/etc/cron.d/x", CREATE)),
    "Read ssh information": act(opened("/home/ann/.ssh/id_rsa")),
    "Change thread namespace": act(call("setns", [5, 0x40000000], fd=5, file=file("/proc/1/ns/net"))),
    "Change namespace privileges via unshare": act(call("unshare", [0x10000000]), in_container=True, cap_permitted=0),
    "System procs network activity": act(connected("8.8.8.8", 80), "cat"),
    "Unexpected UDP Traffic": act(connected("8.8.8.8", 5555, to=UDP)),
    "Non sudo setuid": act(call("setuid", [0], result=-1, who=ANN), uid=1000, user="ann"),
    "Create files below dev": act(opened("/dev/x", CREATE)),
    "Contact EC2 Instance Metadata Service From Container": act(connected("169.254.169.254", 80), in_container=True),
    "Contact cloud metadata service from container": act(connected("169.254.169.254", 80), in_container=True),
    "Delete or rename shell history": act(call("unlink", path1="/root/.bash_history")),
    "Set Setuid or Setgid bit": act(call("chmod", [0, 0o4755], path1="/tmp/x")),
    "Read environment variable from /proc files": act(opened("/proc/1/environ"), in_container=True),
    "Exfiltrating Artifacts via Kubernetes Control Plane": act(opened("/data/x"), "tar", in_container=True, tty=0),
    "Adding ssh keys to authorized_keys": act(opened("/root/.ssh/authorized_keys", WRITE)),
    "Backdoored library loaded into SSHD (CVE-2024-3094)": act(opened("/usr/lib/liblzma.so.5.6.1"), "sshd"),
    "BPF Program Not Profiled": act(call("bpf", [5], result=3)),
    "Unexpected inbound connection source": act(ACCEPTED),
    "Read Shell Configuration File": act(opened("/root/.bashrc")),
    "Update Package Repository": act(opened("/etc/apt/sources.list", WRITE)),
    "Write below binary dir": act(opened("/usr/bin/x", CREATE)),
    "Write below monitored dir": act(opened("/boot/x", CREATE)),
    "Write below etc": act(opened("/etc/x", CREATE)),
    "Write below root": act(opened("/root/x", CREATE)),
    "Write below rpm database": act(opened("/var/lib/rpm/x", CREATE)),
    "Modify binary dirs": act(call("rename", path1="/usr/bin/x", path2="/usr/bin/y")),
    "Mkdir binary dirs": act(call("mkdir", [0, 0o755], path1="/usr/bin/x")),
    "Interpreted procs inbound network activity": act(ACCEPTED, "python3"),
    "Interpreted procs outbound network activity": act(connected("8.8.8.8", 80), "python3"),
    "Unexpected K8s NodePort Connection": act(connected("8.8.8.8", 30001), in_container=True),
    "Create Hidden Files or Directories": act(call("mkdir", [0, 0o755], path1="/tmp/.x")),
    "Container Drift Detected (chmod)": act(call("chmod", [0, 0o755], path1="/tmp/x"), in_container=True),
    "Container Drift Detected (open+create)": act(opened("/tmp/x", CREATE, mode=0o755), in_container=True),
    "Unprivileged Delegation of Page Faults Handling to a Userspace Process": act(
        call("userfaultfd", result=3, who=ANN), uid=1000
    ),
    "Java Process Class File Download": act(
        call("recvfrom", [5, 0, 8], result=4, fd=5, socket=UDP, blob1=bytes.fromhex("cafebabe")), "java"
    ),
    "Modify Container Entrypoint": act(opened("/proc/self/exe", WRITE), in_container=True),
    "Privileged Container Device Access": act(opened("/dev/sda"), in_container=True),
    "Container Access to Host Sensitive Paths": act(opened("/host/etc/hosts"), in_container=True),
}


@cache
def upstream() -> tuple[DetectionRule, ...]:
    """Return all rules."""
    folder = present(conformance_dir().parent / "rules_files" / "falcosecurity_rules")
    return tuple(load_rules(read_rule_files([folder / name for name in FILES])).rules)


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> NativeKernel:
    """Return the kernel filter source, with the pushdown filter of all rules."""
    detector = Detector(upstream(), RulesetOptions(rule_matching="all"))
    made = NativeKernel(tmp_path_factory.mktemp("native"))
    made.put(lay_out(derive(detector.conditions, sorted(detector.event_types))), detector.event_types)
    return made


def test_every_rule_has_an_act() -> None:
    """Rules on execs only are excluded, because execs always pass, and one rule whose condition is always false."""
    others = [rule.name for rule in upstream() if Detector([rule]).event_types - EXECS]

    assert sorted(others) == sorted([*ACTIONS, *NEEDS_NAMES])


@pytest.mark.parametrize("rule", ACTIONS)
def test_what_a_rule_is_for_passes(rule: str, kernel: NativeKernel) -> None:
    """The source sends the call, and the rule matches it."""
    done = ACTIONS[rule]
    sent = kernel.call(done.made)
    assert sent is not None

    start = TIME - 60 * 10**9
    process = replace(
        PROCESS, start_time=start, exec_time=start, container=0 if done.in_container else -1, **done.process
    )
    batch = batch_of(sent, origin=replace(ORIGIN, process=process))
    batch = replace(batch, processes=[process], containers=[CONTAINER] if done.in_container else [])
    found = Detector([each for each in upstream() if each.name == rule]).process(BatchView(batch))
    assert [alert.rule for alert in found] == [rule]
