"""An action in a container reaches all sinks; the first of these files, because the last restarts the cluster."""

import json
from collections.abc import Callable

import pytest

from tests.e2e.cluster import SHADOW, VICTIM, Cluster, wait

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1500)]
SHELL = "Terminal shell in container"


def test_an_act_in_a_container_is_reported_everywhere(cluster: Cluster) -> None:
    """A terminal shell and a read of /etc/shadow reach rsyslog, SIEM topics and Slack, with the container."""

    def of_victim(texts: list[str]) -> set[str]:
        mine = [text for text in texts if VICTIM in text and "lanner-local/busybox" in text]
        return {rule for rule in (SHADOW, SHELL) if any(rule in text for text in mine)}

    readers: dict[str, Callable[[], list[str]]] = {
        "rsyslog": cluster.syslog,
        "siem.ecs": lambda: [json.dumps(each) for each in cluster.topic("siem.ecs")],
        "siem.ocsf": lambda: [json.dumps(each) for each in cluster.topic("siem.ocsf")],
        "slack": lambda: [json.dumps(each) for each in cluster.slack.posted] if cluster.slack else [],
    }
    cluster.daemon.client("exec", VICTIM, "cat", "/etc/shadow")
    cluster.daemon.client("exec", "-t", VICTIM, "sh", "-c", "true; true")
    for name, read in readers.items():
        wait(lambda read=read: of_victim(read()) == {SHADOW, SHELL}, 150, lambda name=name, read=read: (name, read()))
    containers = [each.get("container", {}) for each in cluster.topic("siem.ecs")]
    images = {each["image"]["name"] for each in containers if each.get("name") == VICTIM}
    assert images == {"lanner-local/busybox"}
