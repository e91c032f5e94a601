import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from collector.kubernetes.api import ApiServer, BadCredentials, ListOptions, RequestFailed, Watcher, credentials
from collector.kubernetes.index import ClusterIndex
from collector.kubernetes.objects import RESOURCES
from tests.kubernetes_api import PATHS, KubernetesApi, deployment_with_pods, pod, thing

Test = Callable[[Watcher, ClusterIndex], Awaitable[None]]


def kubeconfig(folder: Path, text: str) -> str:
    """Write a kubeconfig; return its path."""
    path = folder / "kubeconfig"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "a: [s3cr3t", "current-context: x", '{"current-context": "c", "clusters": "s3cr3t", "contexts": []}'],
)
def test_a_bad_kubeconfig_is_refused_without_its_content(tmp_path: Path, text: str) -> None:
    """It holds secrets, which an error must not quote."""
    with pytest.raises(BadCredentials) as found:
        credentials(kubeconfig(tmp_path, text))
    assert "s3cr3t" not in str(found.value)
    assert str(tmp_path) in str(found.value)


def test_a_missing_kubeconfig_or_service_account_is_refused(tmp_path: Path) -> None:
    """The error names the origin."""
    with pytest.raises(BadCredentials, match="nothing"):
        credentials(str(tmp_path / "nothing"))
    with pytest.raises(BadCredentials, match="service account"):
        credentials(None)


def request(server: ApiServer) -> Any:
    """Read a page of pods."""

    async def read() -> Any:
        try:
            return await server.page(RESOURCES["pods"], ListOptions(10), "")
        finally:
            await server.close()

    return asyncio.run(read())


def test_failures_have_their_code_and_no_secret(tmp_path: Path) -> None:
    """Rejected, unreachable, and not an API server."""
    with KubernetesApi() as api:
        config = json.loads(api.kubeconfig(tmp_path).read_text())
        config["users"][0]["user"]["token"] = "wrong-s3cr3t"
        server = ApiServer(credentials(kubeconfig(tmp_path, json.dumps(config))))
        with pytest.raises(RequestFailed, match="401: Unauthorized") as refused:
            request(server)
        good = str(api.kubeconfig(tmp_path))
        api.failures[PATHS["Pod"]] = [429]
        with pytest.raises(RequestFailed, match="429"):
            request(ApiServer(credentials(good)))
    with pytest.raises(RequestFailed) as lost:
        request(ApiServer(credentials(good)))
    assert refused.value.failure.code == 401
    assert lost.value.failure.reason == "lost"
    assert "s3cr3t" not in f"{refused.value}{lost.value}{refused.value.failure!r}{lost.value.failure!r}"


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
