"""The dashboard and the alert rules against a real Prometheus that scrapes the cluster while its demo misbehaves."""

import json
import re
import urllib.parse
import urllib.request
from typing import Any

import pytest
import yaml

from tests.e2e.cluster import ROOT, Cluster, wait

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1500)]
DASHBOARD = json.loads((ROOT / "deploy/grafana/dashboards/lanner.json").read_text())
RULES = yaml.safe_load((ROOT / "deploy/prometheus/lanner.rules.yml").read_text())
ABSENT = "archive"
"""No archive runs in this cluster, because its image takes as much as all others."""
SELECTOR = re.compile(r"\b(?:lanner_\w+|up)(?:\{[^}]*\})?")


def ask(cluster: Cluster, path: str, **parameters: str) -> Any:
    """Query Prometheus and return `data` of its answer."""
    url = f"{cluster.prometheus}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)["data"]


def lacking(cluster: Cluster, queries: set[str]) -> list[str]:
    """Return the queries without series."""
    return sorted(each for each in queries if not ask(cluster, "query", query=each)["result"])


def test_every_query_of_the_dashboard_has_a_series(cluster: Cluster) -> None:
    """No panel of the dashboard stays empty."""
    targets = [target for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]
    queries = {target["expr"].replace("$__rate_interval", "1m") for target in targets}
    queries = {each for each in queries if ABSENT not in each}
    assert len(queries) > 25
    wait(lambda: not lacking(cluster, queries), 90, lambda: lacking(cluster, queries))


def test_alert_rules_are_active_and_name_what_is_there(cluster: Cluster) -> None:
    """Prometheus has loaded all alert rules, can evaluate them, and has series for everything that they use."""
    written = {rule["alert"]: rule["expr"] for group in RULES["groups"] for rule in group["rules"]}

    def healthy() -> set[str]:
        groups = ask(cluster, "rules")["groups"]
        return {rule["name"] for group in groups for rule in group["rules"] if rule["health"] == "ok"}

    wait(lambda: healthy() == set(written), 90, lambda: set(written) - healthy())
    looked_at = {match[0] for expression in written.values() for match in SELECTOR.finditer(expression)}
    looked_at = {each for each in looked_at if ABSENT not in each}
    wait(lambda: not lacking(cluster, looked_at), 60, lambda: lacking(cluster, looked_at))


def test_prometheus_sees_every_process(cluster: Cluster) -> None:
    """One collector, each processor and three notifiers are up."""
    wait(
        lambda: {"collector": 1, "processor": 2, "notifier": 3}.items() <= up(cluster).items(), 60, lambda: up(cluster)
    )


def up(cluster: Cluster) -> dict[str, int]:
    """Count the processes that are up, by stage."""
    found = ask(cluster, "query", query='sum by (stage) (up{job="lanner"})')["result"]
    return {each["metric"]["stage"]: int(each["value"][1]) for each in found}
