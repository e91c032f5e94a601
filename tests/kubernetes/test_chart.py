"""The Helm chart on a real node, with its trial broker: from an event on the node to the notifier's log."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.helm.program import helm
from tests.kubernetes.alerts import SHADOW, LoggedAlert, alerts, wait_for
from tests.kubernetes.node import Node

CHART = Path("deploy/helm/lanner").absolute()
SPACE = "security"
VALUES = """
trialKafka: {enabled: true, image: "lanner-kafka:0.1.0"}
settings: {json_output: true}
kubernetes: {enabled: true}
rules:
  publish: {enabled: true, signKeySecret: rules-key}
  publicKeySecret: rules-public-key
  files:
    my_rules.yaml: |
      - rule: Marked file created
        desc: d
        condition: evt.type in (open, openat) and fd.name endswith .lanner-mark
        output: marked file created by %proc.cmdline in %k8s.deployment.name, labels %k8s.ns.label[team]
        priority: WARNING
"""

pytestmark = pytest.mark.timeout(3600)


@pytest.fixture(scope="module")
def release(node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """Install the chart with signed rules and a pod beside it."""
    folder = tmp_path_factory.mktemp("release")
    private, public, values = (folder / name for name in ("rules.key", "rules.pub", "values.yaml"))
    values.write_text(VALUES)
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", private], check=True)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True)
    node.kubectl("create", "namespace", SPACE)
    for name, file in (("rules-key", private), ("rules-public-key", public)):
        node.kubectl("create", "secret", "generic", name, f"--from-file={file}", "--namespace", SPACE)
    node.run(helm(), "install", "lanner", CHART, "-n", SPACE, "-f", values, "--wait", "--timeout=5m", timeout=330)
    node.kubectl("label", "namespace", "default", "team=web")
    node.kubectl("create", "deployment", "victim", "--image=nginx:1.27")
    node.kubectl("rollout", "status", "deployment/victim", "--timeout=60s")
    yield node
    node.run(helm(), "uninstall", "lanner", "-n", SPACE, "--wait")


def found(node: Node, rule: str, namespace: str = "default") -> list[LoggedAlert]:
    """Return the alerts of a rule about pods of a namespace: other programs of this machine may raise alerts too."""
    every = alerts(node, SPACE, "deployment/lanner-notifier-stdout")
    return [alert for alert in every if alert.rule == rule and alert.container[0] == namespace]


def test_an_alert_passes_all_stages_within_two_seconds(release: Node) -> None:
    """With pod, namespace and image."""
    release.kubectl("exec", "deployment/victim", "--", "cat", "/etc/shadow")
    alert = wait_for(lambda: found(release, SHADOW))[-1]
    namespace, pod, *names = alert.container
    assert (namespace, *names) == ("default", "nginx", "docker.io/library/nginx:1.27")
    assert pod.startswith("victim-")
    assert alert.delay < 2


def test_signed_rules_are_active(release: Node) -> None:
    """The hook published them, and the processors verified the signature."""
    [change, *_] = wait_for(lambda: found(release, "Lanner internal: rules changed", "None"))
    assert change.fields["rules.signed_by"]


def test_the_api_server_provides_deployment_and_labels(release: Node) -> None:
    """The Kubernetes service reads them with its own service account, and processors add them to alerts."""
    release.kubectl("exec", "deployment/victim", "--", "touch", "/tmp/x.lanner-mark")
    [alert, *_] = wait_for(lambda: found(release, "Marked file created"))
    assert alert.fields["k8s.deployment.name"] == "victim"
    assert alert.fields["k8s.ns.label[team]"] == "web"


def test_an_upgrade_keeps_the_passwords(release: Node) -> None:
    """Those of the trial's broker are read from the cluster, so that stages that still run can connect."""
    read = ("get", "secret", "lanner-kafka-collector", "--namespace", SPACE, "--output=jsonpath={.data.password}")
    before = release.kubectl(*read)
    options = ("--reuse-values", "--set", "processor.replicas=1", "--wait", "--timeout=5m")
    release.run(helm(), "upgrade", "lanner", CHART, "-n", SPACE, *options, timeout=330)
    assert release.kubectl(*read) == before
