"""Authentication at the cluster's broker, and signatures of rules."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from bus.clients.readers import TopicReader
from bus.connection import BusUnavailable, Connection
from tests.e2e.cluster import Cluster, wait

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1500)]
SHIPPED = "/usr/share/lanner/rules/lanner_rules.yaml"


def test_nobody_is_let_in_without_a_password(cluster: Cluster) -> None:
    """Clients without a password, with a wrong one, or without the right, are rejected."""
    operator = cluster.connection
    password = cluster.compose("run", "--rm", "--no-deps", "secrets", "show", "collector").strip()
    strangers = (
        Connection(bootstrap_servers=operator.bootstrap_servers),
        replace(operator, password="guessed"),
        replace(operator, username="lanner-collector", password=password),
    )

    def is_rejected(stranger: Connection) -> bool:
        with pytest.raises(BusUnavailable):
            TopicReader(stranger, stranger.topic("alerts"), whole=True)
        return True

    with ThreadPoolExecutor() as pool:
        assert all(pool.map(is_rejected, strangers))


def test_rules_count_if_publish_signed_them(cluster: Cluster) -> None:
    """Every processor refuses rules that the same user publishes without the key."""
    published = cluster.compose("run", "--rm", "publish", SHIPPED, "--yes")
    version = published.split("published version ")[1].split()[0]
    wait(lambda: version in cluster.compose("run", "--rm", "operator", "rules", "status"), 60)
    wait(lambda: cluster.said("processor", version) > 0, 90, lambda: cluster.compose("logs", "--tail=20", "processor"))
    unsigned = ("run", "--rm", "--entrypoint", "lanner", "publish", "rules", "publish", SHIPPED, "--yes", "--force")
    cluster.compose(*unsigned, "-o", "priority=error")
    wait(
        lambda: cluster.said("processor", "not signed") > 0,
        60,
        lambda: cluster.compose("logs", "--tail=20", "processor"),
    )
