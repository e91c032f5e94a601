"""Audit events of a real API server, with the policy and the kubeconfig of docs/kubernetes-audit.md."""

import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from bus.administration import create_missing
from bus.connection import Connection
from bus.topics import DAY_MS, PROCESSOR_DEAD_LETTERS, plan
from tests.cluster.actions import Alerts, rules_file
from tests.cluster.broker import Broker
from tests.cluster.processes import Processes
from tests.cluster.test_audit_intake import port_of, start
from tests.cluster.test_dead_letters import everything
from tests.kubernetes.programs import NoKubernetes, programs
from tests.live.needs import lacking
from tests.live.notifier.certificates import make_certificates
from tests.ports import free_ports

pytestmark = pytest.mark.timeout(3600)

PAGE = Path(__file__).parents[2] / "docs" / "kubernetes-audit.md"
RULES = """
- rule: Secret read
  desc: d
  condition: ka.target.resource = secrets and ka.verb = get
  output: "%ka.user.name %ka.target.name %ka.response.code"
  priority: NOTICE
  source: k8s_audit
- rule: Privileged pod
  desc: d
  condition: ka.verb = create and ka.target.resource = pods and ka.req.pod.containers.privileged intersects (true)
  output: "%ka.user.name %ka.target.namespace %ka.req.pod.containers.image"
  priority: NOTICE
  source: k8s_audit
"""
POD = """
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  automountServiceAccountToken: false
  containers: [{{name: x, image: busybox, securityContext: {{privileged: true}}}}]
"""


class ApiServer:
    """etcd and an API server on loopback, without nodes."""

    def __init__(self, folder: Path, audit: list[str]) -> None:
        self._folder, self._programs = folder, programs()
        etcd, peer, self._port = free_ports(3)
        (folder / "tokens.csv").write_text('admin,admin,1,"system:masters"\nalice,alice,2,""\n')
        subprocess.run(["openssl", "genrsa", "-out", folder / "accounts.key", "2048"], check=True, capture_output=True)
        self._processes = [
            self._start(
                "etcd",
                f"--data-dir={folder / 'etcd'}",
                f"--listen-client-urls=http://127.0.0.1:{etcd}",
                f"--advertise-client-urls=http://127.0.0.1:{etcd}",
                f"--listen-peer-urls=http://127.0.0.1:{peer}",
                f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
                f"--initial-cluster=default=http://127.0.0.1:{peer}",
                "--unsafe-no-fsync",
            ),
            self._start(
                "kube-apiserver",
                f"--etcd-servers=http://127.0.0.1:{etcd}",
                f"--secure-port={self._port}",
                "--bind-address=127.0.0.1",
                "--advertise-address=127.0.0.1",
                "--endpoint-reconciler-type=none",
                f"--cert-dir={folder}",
                f"--token-auth-file={folder / 'tokens.csv'}",
                "--authorization-mode=RBAC",
                "--service-account-issuer=https://kubernetes.default.svc",
                f"--service-account-key-file={folder / 'accounts.key'}",
                f"--service-account-signing-key-file={folder / 'accounts.key'}",
                "--disable-admission-plugins=ServiceAccount",
                "--allow-privileged=true",
                *audit,
            ),
        ]

    def kubectl(self, *arguments: str, user: str = "admin", given: str = "") -> int:
        """Run kubectl as a user; return its exit code."""
        server = ("--server", f"https://127.0.0.1:{self._port}", "--insecure-skip-tls-verify", f"--token={user}")
        command = [self._programs / "kubectl", *server, *arguments]
        environment = {"HOME": str(self._folder), "KUBECONFIG": "/dev/null"}
        return subprocess.run(
            command, input=given.encode(), capture_output=True, env=environment, check=False
        ).returncode

    def wait(self) -> None:
        """Wait until it is ready."""
        deadline = time.monotonic() + 120
        while self.kubectl("get", "namespace", "default"):
            assert time.monotonic() < deadline, (self._folder / "kube-apiserver.log").read_text()[-3000:]
            time.sleep(1)

    def stop(self) -> None:
        """End both."""
        for each in reversed(self._processes):
            each.terminate()
            each.wait(30)

    def _start(self, name: str, *arguments: str) -> "subprocess.Popen[bytes]":
        with (self._folder / f"{name}.log").open("wb") as log:
            return subprocess.Popen([self._programs / name, *arguments], stdout=log, stderr=log)


def block(name: str) -> str:
    """Return a code block of the page."""
    found = re.search(rf"<!-- {name} -->\n```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


def audit_flags(folder: Path, port: int) -> list[str]:
    """Write the page's policy and kubeconfig to a folder; return the page's flags."""
    (folder / "policy.yaml").write_text(block("policy"))
    config = yaml.safe_load(block("kubeconfig").replace("/etc/kubernetes/audit", str(folder)))
    config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{port}/"
    config["clusters"][0]["cluster"]["certificate-authority"] = str(folder / "authority.pem")
    (folder / "kubeconfig.yaml").write_text(yaml.safe_dump(config))
    flags = re.findall(r"^--audit-\S+$", PAGE.read_text(), re.MULTILINE)
    assert len(flags) > 4
    return [
        # Half a minute would make this test long.
        flag.replace("/etc/kubernetes/audit", str(folder)).replace("initial-backoff=30s", "initial-backoff=2s")
        for flag in flags
    ]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """Provide a broker that the test may stop and start."""
    made = Broker(tmp_path / "kafka")
    made.start()
    yield made
    made.remove()


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """Provide a starter of commands; processes that still run at the end are killed."""
    made = Processes(tmp_path)
    yield made
    made.end()


def test_requests_to_an_api_server_become_alerts_also_after_an_outage_of_the_broker(
    broker: Broker, processes: Processes, tmp_path: Path
) -> None:
    """Who reads a secret in vain and who creates a privileged pod; the API server's buffer bridges the outage."""
    try:
        programs()
    except NoKubernetes as missing:
        lacking(str(missing))
    connection = Connection(bootstrap_servers=broker.address, prefix="t.")
    create_missing(connection, plan("t.", 2, 1, DAY_MS))
    files = make_certificates(tmp_path)
    (tmp_path / "token").write_text("s3cret")
    settings = {"certificate_file": files.server, "key_file": files.server_key, "token_file": tmp_path / "token"}
    flags = [f"-okubernetes_audit.{name}={value}" for name, value in settings.items()]
    intake = start(processes, connection, tmp_path, "--listen", "127.0.0.1:0", *flags)
    processes.start(connection, "processor", rules=rules_file(tmp_path, RULES))
    alerts = Alerts(connection)
    server = ApiServer(tmp_path, audit_flags(tmp_path, port_of(intake)))
    try:
        server.wait()
        assert server.kubectl("get", "secret", "db", user="alice") != 0
        assert server.kubectl("create", "--validate=false", "-f", "-", given=POD.format(name="first")) == 0
        wait_for(alerts, {"alice db 403", "admin default (busybox)"})
        broker.stop()
        assert server.kubectl("create", "--validate=false", "-f", "-", given=POD.format(name="second")) == 0
        intake.wait_for("audit events can't be accepted", 60)
        broker.start()
        intake.wait_for("audit events are accepted again", 90)
        deadline = time.monotonic() + 60
        while len({each.id for each in alerts.raw if each.rule == "Privileged pod"}) < 2:
            assert time.monotonic() < deadline
            alerts.read(0.5)
    finally:
        server.stop()
    assert everything(connection, PROCESSOR_DEAD_LETTERS) == []
    alerts.close()


def wait_for(alerts: Alerts, outputs: set[str]) -> None:
    """Wait for alerts with these outputs."""
    deadline = time.monotonic() + 60
    while not outputs <= {each.output for each in alerts.raw}:
        assert time.monotonic() < deadline, [each.output for each in alerts.raw]
        alerts.read(0.5)
