"""`lanner run` on a real node: what an analyst gets to know of a person in a pod, who drops a program there."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.kubernetes.alerts import in_terminal
from tests.kubernetes.node import Node
from tests.kubernetes.settings import NAME

pytestmark = pytest.mark.timeout(3600)

FIELDS = (
    *("proc.cmdline", "proc.exe.origin", "proc.exe.package", "proc.exe.written_by", "container.name"),
    *("container.image.repository", "container.image.tag", "k8s.pod.name", "k8s.ns.name", "k8s.deployment.name"),
    *("k8s.node.name", "fd.name", "fd.sip.name", "dns.question.name", "dns.answers"),
)
RULE = """
- rule: {name}
  desc: d
  condition: {condition} and k8s.ns.name = shop
  output: "{fields}"
  priority: NOTICE
"""
CONDITIONS = {
    "program": "evt.type = execve and container.name = nginx",
    "sandbox": "evt.type = execve and proc.name = pause",
    "written": "evt.type in (open, openat) and evt.is_open_write = true and fd.name startswith /tmp/",
    "read": "evt.type in (open, openat) and fd.name = /etc/shadow",
    "answer": "dns.answers exists",
    "connection": "evt.type = connect and fd.sip.name exists",
}
SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: None, selector: {app: web}, ports: [{port: 80}]}
"""
CONNECT = "/tmp/tool -MIO::Socket::INET -e 'IO::Socket::INET->new(q(web:80)) or die'"
FULL_NAME = "web.shop.svc.cluster.local"


@contextmanager
def running(node: Node, folder: Path) -> Iterator[Path]:
    """Run Lanner in the network of the node, where its API server is; yields the file with its alerts."""
    rules, out, errors = folder / "rules.yaml", folder / "alerts", folder / "errors"
    fields = " ".join(f"%{each}" for each in FIELDS)
    rules.write_text(
        "".join(RULE.format(name=name, condition=text, fields=fields) for name, text in CONDITIONS.items())
    )
    settings = {
        "kubernetes.kubeconfig": node.kubeconfig,
        "kubernetes.node_name": NAME,
        "collector.cri_sockets": node.socket,
        "repeated_alerts.enabled": "false",
        "rule_matching": "all",
    }
    options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
    command = ["nsenter", "--net", "-t", node.socket.parts[2], sys.executable, "-m", "lanner"]
    with out.open("w") as output, errors.open("w") as problems:
        process = subprocess.Popen(
            [*command, "run", "--format", "json", "--keep", "0", "-r", str(rules), *options],
            stdout=output,
            stderr=problems,
        )
        try:
            deadline = time.monotonic() + 60
            while "Stop: Ctrl-C" not in errors.read_text():
                assert process.poll() is None, errors.read_text()
                assert time.monotonic() < deadline, errors.read_text()
                time.sleep(0.2)
            yield out
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)
    assert "Events lost: 0" in errors.read_text() + out.read_text()


def test_a_person_in_a_pod_and_what_they_drop_are_known(node: Node, tmp_path: Path) -> None:
    """The pod started before Lanner; a program that ends at once is known as well, and so is where one connects."""
    node.kubectl("create", "namespace", "shop")
    try:
        node.kubectl("create", "deployment", "web", "--image=nginx:1.27", "--namespace=shop")
        node.kubectl("apply", "-f", "-", given=SERVICE)
        node.roll_out("shop", "deployment/web")
        web = ("kubectl", "exec", "--namespace=shop", "deployment/web")
        with running(node, tmp_path) as out:
            node.run(*web, "--", "nginx", "-v")
            node.run(*web, "--", "true")
            dropping = "cp /usr/bin/perl /tmp/tool"
            in_terminal(node, (*web, "-it", "--", "sh"), "cat /etc/shadow", dropping, CONNECT)
            node.kubectl("run", "brief", "--image=nginx:1.27", "--namespace=shop", "--restart=Never", "--", "true")
            node.kubectl("wait", "--namespace=shop", "--for=jsonpath={.status.phase}=Succeeded", "pod/brief")
            name = node.kubectl("get", "pods", "--namespace=shop", "--selector=app=web", "--output=name").strip()
    finally:
        node.kubectl("delete", "namespace", "shop")
    alerts = [json.loads(line) for line in out.read_text().splitlines() if line.startswith("{")]
    found = [(each["rule"], each["output_fields"]) for each in alerts if "rule" in each]
    assert {each["k8s.pod.name"] for rule, each in found if rule != "sandbox"} == {name.removeprefix("pod/")}, (
        out.read_text()
    )
    for rule, each in found:
        if rule != "sandbox":
            assert each["container.name"] == "nginx"
            assert (each["container.image.repository"], each["container.image.tag"]) == (
                "docker.io/library/nginx",
                "1.27",
            )
            assert (each["k8s.deployment.name"], each["k8s.node.name"]) == ("web", NAME)

    def first(rule: str, command: str) -> dict[str, Any]:
        return next(each for name, each in found if name == rule and each["proc.cmdline"].startswith(command))

    origins = {
        command: (first("program", command)["proc.exe.origin"], first("program", command)["proc.exe.package"])
        for command in ("nginx", "true", "sh", "cat", "tool")
    }
    assert origins == {
        "nginx": ("package", "nginx"),
        "true": ("package", "coreutils"),
        "sh": ("package", "dash"),
        "cat": ("package", "coreutils"),
        "tool": ("dropped", None),
    }
    assert first("program", "tool")["proc.exe.written_by"] == "cp"
    assert first("read", "cat")["fd.name"] == "/etc/shadow"
    assert first("answer", "tool")["dns.question.name"] == FULL_NAME
    assert first("connection", "tool")["fd.sip.name"] == FULL_NAME
    assert first("connection", "tool")["proc.exe.origin"] == "dropped"
    assert first("sandbox", "pause")["container.image.repository"] == "registry.k8s.io/pause"
