"""Audit events of a real API server, with the policy and the kubeconfig of docs/kubernetes-audit.md."""

import http.client
import json
import re
import ssl
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from bus.administration import create_missing
from bus.connection import Connection
from bus.topics import DAY_MS, PROCESSOR_DEAD_LETTERS, plan
from processor.output.internal_alerts import EVENT_TRUNCATED
from schemas.alert import Alert
from tests.cluster.actions import Alerts, rules_file
from tests.cluster.broker import Broker
from tests.cluster.processes import Processes, Running
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
BINDING_RULES = """
- rule: Bound to cluster-admin
  desc: d
  condition: >
    ka.verb in (create, update, patch) and ka.target.resource = clusterrolebindings and ka.target.name = ops
    and ka.req.binding.subjects.user_names intersects (alice)
  output: "%ka.user.name %ka.target.name %json.truncated"
  priority: CRITICAL
  source: k8s_audit
- rule: Binding changed
  desc: d
  condition: ka.verb in (create, update, patch) and ka.target.resource = clusterrolebindings
  output: "%ka.user.name %ka.verb %ka.target.name %json.truncated"
  priority: NOTICE
  source: k8s_audit
"""
BINDER = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRole",
    "metadata": {"name": "binder"},
    "rules": [{"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["*"], "verbs": ["get", "patch", "bind"]}],
}
OPS = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/ops"
SUBJECT = {"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "alice"}
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
        self._folder, self._programs = folder, programs(is_node=False)
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

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"https://127.0.0.1:{self._port}"

    def kubectl(self, *arguments: str, user: str = "admin", given: str = "") -> int:
        """Run kubectl as a user; return its exit code."""
        server = ("--server", self.address, "--insecure-skip-tls-verify", f"--token={user}")
        command = [self._programs / "kubectl", *server, *arguments]
        environment = {"HOME": str(self._folder), "KUBECONFIG": "/dev/null"}
        return subprocess.run(
            command, input=given.encode(), capture_output=True, env=environment, check=False
        ).returncode

    def patch(self, path: str, body: str, user: str) -> int:
        """Send a merge patch as a user; return the status of the answer."""
        context = ssl._create_unverified_context()  # noqa: S323  of this machine
        client = http.client.HTTPSConnection("127.0.0.1", self._port, timeout=60, context=context)
        headers = {"Authorization": f"Bearer {user}", "Content-Type": "application/merge-patch+json"}
        client.request("PATCH", path, body, headers)
        status = client.getresponse().status
        client.close()
        return status

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


def start_all(
    broker: Broker, processes: Processes, folder: Path, rules: str, *flags: str
) -> tuple[ApiServer, Running, Connection]:
    """Start an intake, a processor, and an API server with the page's and further flags that sends its events."""
    try:
        programs(is_node=False)
    except NoKubernetes as missing:
        lacking(str(missing))
    connection = Connection(bootstrap_servers=broker.address, prefix="t.")
    create_missing(connection, plan("t.", 2, 1, DAY_MS))
    files = make_certificates(folder)
    (folder / "token").write_text("s3cret")
    settings = {"certificate_file": files.server, "key_file": files.server_key, "token_file": folder / "token"}
    options = [f"-okubernetes_audit.{name}={value}" for name, value in settings.items()]
    intake = start(processes, connection, folder, "--listen", "127.0.0.1:0", *options)
    processes.start(connection, "processor", rules=rules_file(folder, rules))
    return ApiServer(folder, [*audit_flags(folder, port_of(intake)), *flags]), intake, connection


def test_requests_to_an_api_server_become_alerts_also_after_an_outage_of_the_broker(
    broker: Broker, processes: Processes, tmp_path: Path
) -> None:
    """Who reads a secret in vain and who creates a privileged pod; the API server's buffer bridges the outage."""
    server, intake, connection = start_all(broker, processes, tmp_path, RULES)
    alerts = Alerts(connection)
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


def test_nobody_hides_a_request_by_nesting_it_or_by_its_size(
    broker: Broker, processes: Processes, tmp_path: Path
) -> None:
    """The API server accepts a patch with unknown members that are huge, and logs it as it is, in a file as well."""
    log = tmp_path / "audit.log"
    server, _, connection = start_all(broker, processes, tmp_path, BINDING_RULES, f"--audit-log-path={log}")
    alerts = Alerts(connection)
    nested = [f"{'[' * levels}1{']' * levels}" for levels in (130, 5_000, 9_990)]
    large = [json.dumps("<" * 2_900_000), f"[{'[],' * 900_000}1]"]
    try:
        server.wait()
        assert server.kubectl("apply", "-f", "-", given=json.dumps(BINDER)) == 0
        assert server.kubectl("create", "clusterrolebinding", "binder", "--clusterrole=binder", "--user=alice") == 0
        assert server.kubectl("create", "clusterrolebinding", "ops", "--clusterrole=cluster-admin", "--user=bob") == 0
        for hiding in nested + large:
            body = f'{{"metadata": {{"x": {hiding}}}, "subjects": [{json.dumps(SUBJECT)}]}}'
            assert server.patch(OPS, body, "alice") == 200
        found: dict[str, Alert] = {}
        deadline = time.monotonic() + 60
        while len(found) < len(nested + large) or not any(each.source == "internal" for each in alerts.raw):
            assert time.monotonic() < deadline, [each.output for each in alerts.raw]
            alerts.read(0.5)
            found = {each.id: each for each in alerts.raw if each.output.startswith("alice ")}
    finally:
        server.stop()
    hidden = {"alice ops true": len(nested), "alice patch ops true": len(large)}
    assert Counter(each.output for each in found.values()) == hidden
    (internal,) = (each for each in alerts.raw if each.source == "internal")
    assert internal.rule == EVENT_TRUNCATED
    assert internal.output.endswith("by alice: patch clusterrolebindings ops | alice: patch clusterrolebindings ops: 1")
    assert everything(connection, PROCESSOR_DEAD_LETTERS) == []
    alerts.close()
    rules = rules_file(tmp_path, BINDING_RULES)
    replay = [sys.executable, "-m", "lanner", "replay", str(log), "--rules", str(rules), "--format", "json"]
    done = subprocess.run(replay, capture_output=True, text=True, check=True)
    outputs = Counter(json.loads(line)["output"].partition(": ")[2] for line in done.stdout.splitlines())
    assert {output: outputs[next(each for each in outputs if output in each)] for output in hidden} == hidden
    assert "can't be read" not in done.stderr
