import time
from dataclasses import replace
from pathlib import Path

from foundation.text import ignore_note
from lanner.settings import Settings
from lanner.settings.sections.services import KubernetesSettings
from lanner.wiring.stages.pods import PodsOfNode
from processor.hosts.arrival import PodRecords
from tests.kubernetes_api import KubernetesApi, deployment_with_pods, pod


def test_the_pods_of_this_node_are_known(tmp_path: Path) -> None:
    """With their owners and the cluster's name; those of other nodes are not read."""
    with KubernetesApi() as api:
        api.put(*deployment_with_pods("web", 2), pod("elsewhere", "p-2", node="worker-2"))
        section = KubernetesSettings(kubeconfig=str(api.kubeconfig(tmp_path)))
        records = PodRecords()
        node = PodsOfNode(
            replace(Settings(), kubernetes=section, cluster_name="west"), records, "WORKER-1", ignore_note
        )
        deadline = time.monotonic() + 20
        while len(records) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        node.stop()
    record = records.get("pod-web-1")
    assert record is not None
    assert [each.name for each in record.owners] == ["web-59f", "web"]
    assert record.cluster == "west"
    assert records.get("p-2") is None
