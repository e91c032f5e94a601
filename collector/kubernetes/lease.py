"""Elects one of several processes by a Lease object of Kubernetes.

The holder renews the lease every few seconds, and stops at once when it could not for RENEW_SECONDS; others take the
lease over only if it has not changed for LEASE_SECONDS by their own clocks. The clocks of two machines are never
compared. Source: client-go, tools/leaderelection/leaderelection.go; times are its defaults.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any, Literal

from collector.kubernetes.api import ApiServer, RequestFailed
from foundation.text import OnNote

LEASE_SECONDS = 15.0
RENEW_SECONDS = 10.0
RETRY_SECONDS = 2.0
_JITTER = 0.2
_MAX_SECONDS = 60
"""A duration that somebody else wrote must not keep everybody from leading for years."""
_NOT_FOUND = 404
_CONFLICT = 409
_MAX_TRANSITIONS = 2**31 - 1

Action = Literal["wait", "take", "renew"]


class LeaseView:
    """The lease as one process has seen it. Pure."""

    def __init__(self, identity: str) -> None:
        """Begin without having seen it. identity: unique among the processes."""
        self.identity = identity
        self._seen: tuple[Any, ...] | None = None
        self._seen_at = 0.0
        self._duration = LEASE_SECONDS

    def see(self, spec: dict[str, Any], now: float) -> Action:
        """Take the specification that the API server returned; return what this process may do. now: monotonic, s."""
        state = (spec.get("holderIdentity"), spec.get("renewTime"), spec.get("leaseTransitions"))
        if state != self._seen:
            self._seen, self._seen_at = state, now
            seconds = spec.get("leaseDurationSeconds")
            self._duration = (
                float(min(seconds, _MAX_SECONDS)) if isinstance(seconds, int) and seconds > 0 else LEASE_SECONDS
            )
        holder = spec.get("holderIdentity")
        if holder == self.identity:
            return "renew"
        if not holder or now - self._seen_at >= self._duration:
            return "take"
        return "wait"

    def next_spec(self, spec: dict[str, Any], wall: float, *, is_taking: bool) -> dict[str, Any]:
        """Return the specification that holds the lease. wall: seconds since the epoch.

        is_taking: whether another process held it.
        """
        formatted = datetime.fromtimestamp(wall, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        found = {"leaseTransitions": 0, "acquireTime": formatted} | spec
        if is_taking:
            former = found["leaseTransitions"]
            found["leaseTransitions"] = min(former + 1, _MAX_TRANSITIONS) if isinstance(former, int) else 1
            found["acquireTime"] = formatted
        return found | {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": int(LEASE_SECONDS),
            "renewTime": formatted,
        }


class Elector:
    """Runs a task while this process holds the lease, and cancels it when that is over."""

    def __init__(self, api: ApiServer, namespace: str, name: str, identity: str, on_note: OnNote) -> None:
        """Prepare; nothing is requested. identity: unique among the processes."""
        self.is_leader = False
        self.renewed_at = 0.0
        """When the lease was last held for certain, monotonic s."""
        self._api = api
        self._path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._namespace = namespace
        self._name = name
        self._view = LeaseView(identity)
        self._lease: dict[str, Any] = {}
        self._on_note = on_note
        self._is_waiting = False
        self._failure = ""

    @property
    def may_write(self) -> bool:
        """True if this process holds the lease now: no other process can have taken it over."""
        return self.is_leader and time.monotonic() - self.renewed_at < RENEW_SECONDS

    async def run(self, lead: Callable[[], Awaitable[None]]) -> None:
        """Wait for the lease, lead, and start over when it is lost; cancel to end.

        lead: what only the holder does; it is cancelled when the lease is lost. An exception of it ends this.
        """
        while True:
            await self._acquire()
            leading = asyncio.ensure_future(lead())
            holding = asyncio.create_task(self._hold())
            try:
                await asyncio.wait((leading, holding), return_when=asyncio.FIRST_COMPLETED)
            finally:
                self.is_leader = False
                for task in (leading, holding):
                    task.cancel()
                await asyncio.gather(leading, holding, return_exceptions=True)
            if not leading.cancelled() and (error := leading.exception()) is not None:
                raise error
            self._on_note("the lease is lost: another process may lead now.", "warning")

    async def release(self) -> None:
        """Release the lease, so that another process takes it at once; call it after `run` was canceled."""
        if self._lease.get("spec", {}).get("holderIdentity") != self._view.identity:
            return
        lease = deepcopy(self._lease)
        lease["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1}
        try:
            async with asyncio.timeout(RETRY_SECONDS):
                await self._api.write("PUT", f"{self._path}/{self._name}", lease)
        except (RequestFailed, TimeoutError):
            # The others wait until it expires.
            return

    async def _acquire(self) -> None:
        self._is_waiting = False
        while True:
            if await self._attempt():
                break
            await asyncio.sleep(RETRY_SECONDS * (1 + _JITTER * random.random()))  # noqa: S311  spreads load
        self.is_leader = True
        self._on_note(f"leading: this process holds the lease {self._namespace}/{self._name}.")

    async def _hold(self) -> None:
        """Renew the lease; return when it is lost."""
        while (left := self.renewed_at + RENEW_SECONDS - time.monotonic()) > 0:
            await asyncio.sleep(min(RETRY_SECONDS, left))
            left = self.renewed_at + RENEW_SECONDS - time.monotonic()
            try:
                async with asyncio.timeout(max(left, 0)):
                    if not await self._attempt() and self._is_waiting:
                        return
            except TimeoutError:
                return

    async def _attempt(self) -> bool:
        """Read the lease, and take or renew it if possible; return whether this process holds it now."""
        began = time.monotonic()
        try:
            if not await self._read():
                self._lease = await self._create()
            else:
                action = self._view.see(self._lease.get("spec") or {}, time.monotonic())
                self._is_waiting = action == "wait"
                if self._is_waiting:
                    self._failure = ""
                    return False
                lease = deepcopy(self._lease)
                lease["spec"] = self._view.next_spec(lease.get("spec") or {}, time.time(), is_taking=action == "take")
                self._lease = await self._api.write("PUT", f"{self._path}/{self._name}", lease)
        except RequestFailed as error:
            if error.failure.code == _CONFLICT:
                return False
            if error.failure.text != self._failure:
                self._failure = error.failure.text
                self._on_note(f"the lease {self._namespace}/{self._name}: {self._failure}.", "warning")
            return False
        self.renewed_at, self._failure = began, ""
        return True

    async def _read(self) -> bool:
        try:
            found = await self._api.get(f"{self._path}/{self._name}")
        except RequestFailed as error:
            if error.failure.code == _NOT_FOUND:
                return False
            raise
        self._lease = found if isinstance(found, dict) else {}
        return True

    async def _create(self) -> dict[str, Any]:
        spec = self._view.next_spec({}, time.time(), is_taking=False)
        lease = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._name, "namespace": self._namespace},
            "spec": spec,
        }
        found = await self._api.write("POST", self._path, lease)
        return found if isinstance(found, dict) else lease
