"""Authentication at the cluster's broker, and signatures of rules."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from bus.clients.readers import TopicReader
from bus.connection import BusUnavailable, Connection
from tests.e2e.cluster import Cluster, wait
from tests.kcat import kcat

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1500)]
SHIPPED = "/usr/share/lanner/rules/lanner_rules.yaml"


def test_nobody_is_let_in_without_a_password(cluster: Cluster) -> None:
    """Clients without a password, with a wrong one, or without the right, are rejected."""
    operator = cluster.connection
    password = cluster.secret("collector")
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


def test_debians_kcat_reads_the_siem_topics_and_nothing_else(cluster: Cluster, tmp_path: Path) -> None:
    """A client that can't use SCRAM logs in over TLS as the reader; other users and certificates are refused."""
    reader = cluster.reader(tmp_path)
    read = kcat(reader, tmp_path, "-C", "-q", "-c", "1", "-o", "beginning", "-t", reader.topic("siem.falco"))
    assert json.loads(read.stdout)["rule"], read.stderr
    alerts = kcat(reader, tmp_path, "-C", "-q", "-e", "-o", "beginning", "-t", reader.topic("alerts"))
    assert (alerts.returncode != 0, alerts.stdout) == (True, "")
    assert "authorization failed" in alerts.stderr
    strangers = (
        replace(reader, username="lanner-operator", password=cluster.connection.password),
        replace(reader, password="guessed"),
        replace(reader, ca_file=""),
    )
    for stranger in strangers:
        listed = kcat(stranger, tmp_path, "-L", "-m", "2")
        assert (listed.returncode != 0, listed.stdout) == (True, ""), listed.stderr


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
