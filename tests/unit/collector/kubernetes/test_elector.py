import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from collector.kubernetes import lease
from collector.kubernetes.api import ApiServer, credentials
from collector.kubernetes.lease import Elector
from foundation.text import ignore_note
from tests.kubernetes_api import KubernetesApi

NAMESPACE, NAME = "lanner", "lanner-kubernetes"


@pytest.fixture
def api() -> Iterator[KubernetesApi]:
    """Provide an API server."""
    with KubernetesApi() as made:
        yield made


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the times by ten."""
    monkeypatch.setattr(lease, "LEASE_SECONDS", 2)
    monkeypatch.setattr(lease, "RENEW_SECONDS", 1.0)
    monkeypatch.setattr(lease, "RETRY_SECONDS", 0.2)


class Candidate:
    """A process that wants to lead."""

    def __init__(self, api: KubernetesApi, folder: Path, name: str) -> None:
        self.server = ApiServer(credentials(str(api.kubeconfig(folder))))
        self.elector = Elector(self.server, NAMESPACE, NAME, name, ignore_note)
        self.terms = 0
        self.ended_at = 0.0
        self._running = asyncio.ensure_future(self.elector.run(self._lead))

    async def _lead(self) -> None:
        self.terms += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.ended_at = time.monotonic()

    async def stop(self, *, is_clean: bool = True) -> None:
        """Stop; not cleanly: without giving up the lease."""
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)
        if is_clean:
            await self.elector.release()
        await self.server.close()


async def until(is_true: Callable[[], object], seconds: float = 30) -> None:
    """Wait until something is true."""
    async with asyncio.timeout(seconds):
        while not is_true():  # noqa: ASYNC110  what is waited for has no event
            await asyncio.sleep(0.02)


def run(test: Callable[[], Awaitable[None]]) -> None:
    """Run a test on a loop."""

    async def all_of_it() -> None:
        await test()

    asyncio.run(all_of_it())


def test_one_of_two_leads_and_the_other_takes_over(api: KubernetesApi, tmp_path: Path) -> None:
    """It does so after a clean stop, and after the lease has expired otherwise."""

    async def test() -> None:
        first, second = (Candidate(api, tmp_path, name) for name in ("first", "second"))
        await until(lambda: first.terms + second.terms)
        leader, other = (first, second) if first.terms else (second, first)
        await asyncio.sleep(3)
        assert (leader.terms, other.terms) == (1, 0)
        assert leader.elector.may_write
        assert not other.elector.may_write
        await leader.stop()
        await until(lambda: other.terms)
        third = Candidate(api, tmp_path, "third")
        await other.stop(is_clean=False)
        began = time.monotonic()
        await until(lambda: third.terms)
        assert time.monotonic() - began > 1
        await third.stop()
        assert api.lease(NAMESPACE, NAME)["leaseTransitions"] == 2

    run(test)


def test_a_leader_that_cannot_renew_stops_before_another_may_lead(api: KubernetesApi, tmp_path: Path) -> None:
    """Also if the API server accepts its requests and never answers; it leads again afterwards."""

    async def test() -> None:
        leader = Candidate(api, tmp_path, "first")
        await until(lambda: leader.terms)
        api.slowdown.set()
        began = time.monotonic()
        await until(lambda: not leader.elector.may_write)
        await until(lambda: leader.ended_at)
        assert leader.ended_at - began < 1.5
        api.slowdown.clear()
        await until(lambda: leader.terms == 2)
        await leader.stop()

    run(test)


def test_a_leader_whose_lease_was_taken_stops(api: KubernetesApi, tmp_path: Path) -> None:
    """Somebody edited it."""

    async def test() -> None:
        leader = Candidate(api, tmp_path, "first")
        await until(lambda: leader.terms)
        api.take_lease(NAMESPACE, NAME, "somebody")
        await until(lambda: leader.ended_at)
        assert not leader.elector.may_write
        await leader.stop()
        assert api.lease(NAMESPACE, NAME)["holderIdentity"] == "somebody"

    run(test)


def test_an_error_of_the_leading_task_ends_the_run(api: KubernetesApi, tmp_path: Path) -> None:
    """It is not retried silently."""

    async def fails() -> None:
        raise RuntimeError("broken")

    async def test() -> None:
        server = ApiServer(credentials(str(api.kubeconfig(tmp_path))))
        with pytest.raises(RuntimeError, match="broken"):
            await Elector(server, NAMESPACE, NAME, "first", ignore_note).run(fails)
        await server.close()

    run(test)
