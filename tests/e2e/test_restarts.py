"""Restarts and failures of a cluster."""

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from tests.e2e.cluster import PROFILES, SHADOW, Cluster, wait

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1500)]
SYSLOG_ID = re.compile(r' id="([^"]+)" rule="([^"]+)"')
ACT = re.compile(r"/act-(\d+)-")


def test_nothing_is_lost_or_doubled_whatever_is_restarted(cluster: Cluster) -> None:
    """Scale up, kill a processor, restart the broker and the collector, and stop and start everything."""
    done = 0

    def act(number: int) -> None:
        nonlocal done
        first, done = done, done + number
        cluster.act(first, number)

    @contextmanager
    def acting(number: int) -> Iterator[None]:
        with ThreadPoolExecutor(1) as pool:
            going = pool.submit(act, number)
            yield
            going.result()

    def watching(before: int) -> None:
        wait(lambda: cluster.said("collector", "watching") > before, 60, lambda: cluster.compose("logs", "collector"))

    def ids_of_actions(pairs: list[tuple[str, str]]) -> dict[int, list[str]]:
        found = defaultdict(list)
        for identity, text in pairs:
            if (match := ACT.search(text)) and SHADOW in text:
                found[int(match[1])].append(identity)
        return found

    def from_topic(name: str) -> list[tuple[str, str]]:
        return [(str(each["_key"]), json.dumps(each)) for each in cluster.topic(name)]

    def from_syslog() -> list[tuple[str, str]]:
        return [(match[1], line) for line in cluster.syslog() if (match := SYSLOG_ID.search(line))]

    act(10)
    with acting(40):
        cluster.compose("up", "--detach", "--no-recreate", "--scale", "processor=3", "processor")
    wait(lambda: cluster.said("processor", "evaluating rules:") >= 3, 60)
    with acting(40):
        # The oldest, which has work.
        cluster.daemon.client("kill", cluster.containers("processor")[-1])
    assert len(cluster.containers("processor")) == 2
    with acting(60):
        cluster.compose("restart", "kafka")
    before = cluster.said("collector", "watching")
    cluster.compose("restart", "collector")
    watching(before)
    act(10)
    # TCP has no acknowledgements by programs: what rsyslog has read but not written when it is stopped is lost.
    wait(lambda: set(range(done)) <= set(ids_of_actions(from_syslog())), 90, lambda: "rsyslog is behind")
    cluster.compose(*PROFILES, "down")
    cluster.compose(*PROFILES, "up", "--detach")
    cluster.wait_until_it_works()
    act(10)

    actions = set(range(done))
    seen = {}
    for name, read in (
        ("siem.ecs", lambda: from_topic("siem.ecs")),
        ("siem.ocsf", lambda: from_topic("siem.ocsf")),
        ("rsyslog", from_syslog),
    ):
        wait(
            lambda read=read: actions <= set(ids_of_actions(read())),
            90,
            lambda name=name, read=read: f"{name} lacks {sorted(actions - set(ids_of_actions(read())))}",
        )
        seen[name] = ids_of_actions(read())
        assert set(seen[name]) == actions
        doubled = {number: ids for number, ids in seen[name].items() if len(set(ids)) > 1}
        assert not doubled, name
        print(f"{name}: {sum(map(len, seen[name].values()))} messages of {len(actions)} actions")  # noqa: T201  raw duplicates are told
    alerts = [{number: ids[0] for number, ids in each.items()} for each in seen.values()]
    assert alerts[0] == alerts[1] == alerts[2]
