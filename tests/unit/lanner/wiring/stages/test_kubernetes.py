import time
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from bus.connection import Connection
from foundation.text import ignore_note
from lanner.actions.cluster import ClusterActionService
from lanner.errors import BadInput
from lanner.settings import Settings
from lanner.settings.sections.services import KubernetesSettings
from lanner.wiring.stages.kubernetes import PodsOfNode, cluster_actions
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


class Api:
    """Where `lanner kubernetes` runs."""

    namespace = "lanner"


def service(**values: Any) -> ClusterActionService:
    """Return the service of these settings."""
    kubernetes = Settings().kubernetes
    kubernetes = replace(kubernetes, actions=replace(kubernetes.actions, enabled=("cordon",), **values))
    return cluster_actions(Settings(kubernetes=kubernetes), Connection(), cast("Any", Api()), "one", ignore_note)


def test_keys_are_needed_to_act(tmp_path: Path) -> None:
    """One that signs results, and those whose intents count; each that is missing is named."""
    with pytest.raises(BadInput, match=r"kubernetes\.actions\.key_file"):
        service()
    key = Ed25519PrivateKey.generate()
    own, public = tmp_path / "own.pem", tmp_path / "public.pem"
    own.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    own.chmod(0o600)
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(BadInput, match="nothing would be accepted"):
        service(key_file=str(own))
    assert service(key_file=str(own), people_key_files=(str(public),)) is not None
