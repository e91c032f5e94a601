import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from collector.kubernetes.api import ApiServer, credentials
from collector.kubernetes.index import ClusterIndex
from collector.kubernetes.watcher import Watcher
from tests.kubernetes_api import PATHS, KubernetesApi, deployment_with_pods, pod, thing

Test = Callable[[Watcher, ClusterIndex], Awaitable[None]]


@pytest.fixture
def api() -> Iterator[KubernetesApi]:
    """Provide an API server with a namespace, a service and a deployment of five pods."""
    with KubernetesApi() as made:
        made.put(
            thing("Namespace", "prod", "ns-1"), thing("Service", "s", "s-1", "prod", spec={"selector": {"app": "web"}})
        )
        made.put(*deployment_with_pods("web", 5))
        yield made


class Watching:
    """Runs a watcher for the time of a test."""

    def __init__(self, api: KubernetesApi, folder: Path) -> None:
        self.api = api
        self.notes: list[str] = []
        self._kubeconfig = str(api.kubeconfig(folder))

    def run(self, test: Test, *, node: str = "") -> None:
        """Run a test once everything is listed."""
        asyncio.run(self._run(test, node))

    async def _run(self, test: Test, node: str) -> None:
        server, index = ApiServer(credentials(self._kubeconfig)), ClusterIndex()
        watcher = Watcher(server, index, page_size=2, node=node, on_note=lambda text, *_: self.notes.append(text))
        running = asyncio.create_task(watcher.run())
        try:
            async with asyncio.timeout(20):
                await watcher.listed.wait()
                await test(watcher, index)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await server.close()


@pytest.fixture
def watching(api: KubernetesApi, tmp_path: Path) -> Watching:
    """Provide a watcher of the API server."""
    return Watching(api, tmp_path)


async def until(is_true: Callable[[], object]) -> None:
    """Wait until something is true."""
    while not is_true():  # noqa: ASYNC110  what is waited for has no event
        await asyncio.sleep(0.02)


def test_lists_are_read_in_pages_and_then_watched(watching: Watching) -> None:
    """Changes and deletions arrive."""

    async def test(_: Watcher, index: ClusterIndex) -> None:
        assert index.counts()["pods"] == 5
        assert max(watching.api.pages) == 2
        watching.api.put(pod("late", "p-late"))
        watching.api.delete("Pod", "pod-web-0")
        await until(lambda: index.record("p-late"))
        await until(lambda: index.record("pod-web-0") is None)

    watching.run(test)
    assert watching.notes == []


def test_after_410_the_list_is_read_again(watching: Watching) -> None:
    """What was deleted unseen is gone."""

    async def test(watcher: Watcher, index: ClusterIndex) -> None:
        watching.api.delete("Pod", "pod-web-0", silently=True)
        watching.api.compact()
        await until(lambda: index.record("pod-web-0") is None)
        reflector = watcher.reflectors["pods"]
        assert (reflector.lists, reflector.restarts["gone"]) == (2, 1)

    watching.run(test)
    assert watching.notes == []


def test_a_page_that_is_too_old_starts_the_list_over(watching: Watching) -> None:
    """The token of a page expires while the list is read."""
    watching.api.failures[PATHS["Pod"]] = [0, 410]

    async def test(watcher: Watcher, index: ClusterIndex) -> None:
        assert index.counts()["pods"] == 5
        assert watcher.reflectors["pods"].lists == 1
        assert watching.api.requests[f"list {PATHS['Pod']}"] == 5

    watching.run(test)


def test_a_lost_watch_continues_where_it_was(watching: Watching) -> None:
    """Nothing is listed again, and a single break is not worth a message."""

    async def test(watcher: Watcher, index: ClusterIndex) -> None:
        await until(lambda: watching.api.requests[f"watch {PATHS['Pod']}"])
        watching.api.drop_watches()
        watching.api.put(pod("late", "p-late"))
        await until(lambda: index.record("p-late"))
        assert watcher.reflectors["pods"].lists == 1

    watching.run(test)
    assert watching.notes == []


def test_a_restart_of_the_api_server_is_reported_once(watching: Watching) -> None:
    """And its end."""

    async def test(_: Watcher, index: ClusterIndex) -> None:
        await asyncio.to_thread(watching.api.stop)
        await until(lambda: watching.notes)
        watching.api.restart()
        watching.api.put(pod("late", "p-late"))
        await until(lambda: index.record("p-late"))
        await until(lambda: len(watching.notes) > 1)

    watching.run(test)
    began, ended = watching.notes
    assert "cannot be read" in began
    assert "again" in ended


def test_missing_rights_are_reported_with_the_page_that_lists_them(watching: Watching) -> None:
    """And requested again until they are granted."""
    watching.api.failures[PATHS["Service"]] = [403]

    async def test(_: Watcher, index: ClusterIndex) -> None:
        assert index.counts()["services"] == 1

    watching.run(test)
    assert "services cannot be read" in watching.notes[0]
    assert "docs/kubernetes-metadata.md" in watching.notes[0]


def test_only_the_pods_of_a_node_are_read_if_it_is_named(watching: Watching) -> None:
    """For `lanner run`."""
    watching.api.put(pod("elsewhere", "p-2", node="worker-2"))

    async def test(_: Watcher, index: ClusterIndex) -> None:
        assert list(index.keys()) == ["p-2"]
        assert index.counts()["deployments"] == 1

    watching.run(test, node="worker-2")
