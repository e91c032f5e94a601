"""The intake of Kubernetes audit events in the cluster of deploy/compose."""

import http.client

import pytest

from tests.e2e.cluster import Cluster, wait
from tests.unit.processor.detection.requests import line, request

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1500)]


def test_what_is_posted_with_the_token_is_on_the_topic(cluster: Cluster) -> None:
    """Without the token, nothing is accepted; the container's user may write to no other topic but dead letters."""
    wait(
        lambda: cluster.said("kubernetes-audit", "taking audit events from") > 0,
        90,
        lambda: cluster.log("kubernetes-audit"),
    )
    token = cluster.compose("run", "--rm", "--no-deps", "secrets", "show", "audit-token").strip()
    statuses = []
    for shown in ("wrong", token):
        client = http.client.HTTPConnection("127.0.0.1", cluster.audit_port, timeout=60)
        client.request("POST", "/", line([request(auditID="e2e")]), {"Authorization": f"Bearer {shown}"})
        statuses.append(client.getresponse().status)
        client.close()

    assert statuses == [401, 200]
    assert [each["auditID"] for each in cluster.topic("kubernetes-audit")] == ["e2e"]
