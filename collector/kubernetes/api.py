"""Requests to the API server, and the watcher that keeps the index current by them.

lightkube reads the credentials, renews tokens and checks certificates. Answers are read in bounded parts, and failures
never contain a header or an address with credentials. The watcher runs one task per resource, each driven by its
reflector.
"""

import asyncio
import json
import random
import ssl
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx2 as httpx
from lightkube.config.client_adapter import AsyncClient, ConnectionParams
from lightkube.config.kubeconfig import SERVICE_ACCOUNT, KubeConfig, SingleConfig
from lightkube.config.models import User
from lightkube.core.exceptions import ConfigError

from collector.kubernetes.index import ClusterIndex
from collector.kubernetes.objects import (
    RESOURCES,
    Page,
    Resource,
    UnusableAnswer,
    WatchEvent,
    decode_event,
    decode_page,
    decode_status,
)
from collector.kubernetes.reflector import GONE, ListRequest, Reason, Reflector, RequestFailure, WatchRequest
from foundation.errors import LannerError
from foundation.text import OnNote, printable

_ANSWER_SECONDS = 30.0
_WATCH_SECONDS = (240, 300)
"""The API server ends a watch after a random time in this range, so that clients spread over its replicas."""
_WATCH_SLACK_SECONDS = 15.0
_MAX_ANSWER_BYTES = 128 << 20
_MAX_LINE_BYTES = 8 << 20
"""An object has at most 1.5 MiB in etcd, and JSON may take more."""
_MAX_MESSAGE = 300
OPENED = WatchEvent("OPENED")
"""The first event of a watch: the API server has accepted it."""
_METADATA = "application/json;as=PartialObjectMetadata{};g=meta.k8s.io;v=v1,application/json"
_JSON = "application/json"
_MERGE = "application/merge-patch+json"
"""Source: RFC 7386: null removes a key."""

_REMIND_SECONDS = 60.0
_RIGHTS = (401, 403)


class RequestFailed(LannerError):
    """A request failed; `failure` has the reason."""

    def __init__(self, failure: RequestFailure) -> None:
        super().__init__(failure.text)
        self.failure = failure


class BadCredentials(LannerError):
    """The kubeconfig or the service account can't be used."""


@dataclass(frozen=True, slots=True)
class ListOptions:
    """Options of a list."""

    page_size: int
    fields: str = ""
    """A field selector, such as spec.nodeName=worker-1."""


def credentials(kubeconfig: str | None, context: str | None = None) -> SingleConfig:
    """Read credentials: of a context of a kubeconfig, by default its current one, else of the pod's service account.

    Raises BadCredentials.
    """
    try:
        config = KubeConfig.from_file(kubeconfig) if kubeconfig else KubeConfig.from_service_account(SERVICE_ACCOUNT)
        found = config.get(context)
    except Exception as error:  # noqa: BLE001  a file of another form raises almost anything
        origin = kubeconfig or "the service account of this pod"
        # The text of a parser's error may quote the file, which contains secrets.
        why = str(error) if isinstance(error, ConfigError) else f"not a valid kubeconfig ({type(error).__name__})"
        raise BadCredentials(f"{origin}: {why}") from None
    if found is None:
        raise BadCredentials(f"{kubeconfig}: no current context")
    return found if found.user is not None else found._replace(user=User())


class ApiServer:
    """A connection to the API server, for one event loop."""

    def __init__(self, config: SingleConfig) -> None:
        """Prepare; nothing is connected. Raises BadCredentials."""
        self.address = config.cluster.server
        self.namespace = config.namespace
        try:
            self._client = AsyncClient(config, ConnectionParams(timeout=httpx.Timeout(_ANSWER_SECONDS)))
        except (ConfigError, ssl.SSLError, OSError, ValueError) as error:
            why = str(error) if isinstance(error, ConfigError) else type(error).__name__
            raise BadCredentials(f"the certificates for {self.address} can't be used: {why}") from None

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def page(self, resource: Resource, selection: ListOptions, continues: str) -> Page:
        """Return a page of a list. Raises RequestFailed."""
        parameters = {"limit": str(selection.page_size)} | _selector(selection)
        if continues:
            parameters["continue"] = continues
        data = await self._read("GET", resource.path, parameters, _accept(resource, "List"))
        try:
            return decode_page(data)
        except UnusableAnswer as error:
            raise RequestFailed(RequestFailure("unusable", text=str(error))) from None

    async def watch(self, resource: Resource, selection: ListOptions, version: str) -> AsyncIterator[WatchEvent]:
        """Yield the changes after a version until the watch ends. Raises RequestFailed."""
        seconds = random.randint(*_WATCH_SECONDS)  # noqa: S311  spreads load
        parameters = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(seconds),
        } | _selector(selection)
        timeout = httpx.Timeout(_ANSWER_SECONDS, read=seconds + _WATCH_SLACK_SECONDS)
        try:
            async with self._client.stream(
                "GET", resource.path, params=parameters, headers={"Accept": _accept(resource, "")}, timeout=timeout
            ) as response:
                if response.status_code != httpx.codes.OK:
                    raise RequestFailed(_failure(response, await _body(response)))
                yield OPENED
                async for line in _lines(response):
                    yield decode_event(line)
        except UnusableAnswer as error:
            raise RequestFailed(RequestFailure("unusable", text=str(error))) from None
        except (httpx.HTTPError, httpx.InvalidURL, ConfigError, OSError) as error:
            raise RequestFailed(_lost(error)) from None

    async def get(self, path: str, parameters: dict[str, str] | None = None) -> Any:
        """Return an object, or a list by the parameters, as JSON. Raises RequestFailed."""
        return _json(await self._read("GET", path, parameters or {}, _JSON))

    async def write(self, method: str, path: str, value: Any) -> Any:
        """Create (POST), replace (PUT), merge into (PATCH) or DELETE an object; return it as stored.

        Raises RequestFailed.
        """
        return _json(await self._read(method, path, {}, _JSON, json.dumps(value).encode()))

    async def _read(
        self, method: str, path: str, parameters: dict[str, str], accept: str, content: bytes | None = None
    ) -> bytes:
        headers = {"Accept": accept} | (
            {} if content is None else {"Content-Type": _MERGE if method == "PATCH" else _JSON}
        )
        try:
            async with self._client.stream(
                method, path, params=parameters, headers=headers, content=content
            ) as response:
                data = await _body(response)
                if not response.is_success:
                    raise RequestFailed(_failure(response, data))
                return data
        except UnusableAnswer as error:
            raise RequestFailed(RequestFailure("unusable", text=str(error))) from None
        except (httpx.HTTPError, httpx.InvalidURL, ConfigError, OSError) as error:
            raise RequestFailed(_lost(error)) from None


def _accept(resource: Resource, suffix: str) -> str:
    return _JSON if resource.is_whole else _METADATA.format(suffix)


def _selector(selection: ListOptions) -> dict[str, str]:
    return {"fieldSelector": selection.fields} if selection.fields else {}


async def _body(response: httpx.Response) -> bytes:
    parts, size = [], 0
    async for part in response.aiter_bytes():
        parts.append(part)
        size += len(part)
        if size > _MAX_ANSWER_BYTES:
            raise UnusableAnswer(f"more than {_MAX_ANSWER_BYTES >> 20} MiB: choose a smaller kubernetes.page_size")
    return b"".join(parts)


async def _lines(response: httpx.Response) -> AsyncIterator[bytes]:
    rest = bytearray()
    async for part in response.aiter_bytes():
        rest += part
        if b"\n" in part:
            *lines, last = rest.split(b"\n")
            for line in lines:
                if line:
                    yield bytes(line)
            rest = bytearray(last)
        if len(rest) > _MAX_LINE_BYTES:
            raise UnusableAnswer(f"a line of more than {_MAX_LINE_BYTES >> 20} MiB")


def _failure(response: httpx.Response, data: bytes) -> RequestFailure:
    code = response.status_code
    message = printable(decode_status(data).message)[:_MAX_MESSAGE] or response.reason_phrase
    reason: Reason = "gone" if code == GONE else "refused"
    return RequestFailure(reason, code, _seconds(response.headers.get("retry-after", "")), f"{code}: {message}")


def _seconds(text: str) -> float | None:
    return float(text) if text.isascii() and text.isdigit() else None


def _lost(error: Exception) -> RequestFailure:
    # Other texts may quote a token's file, a command or a header.
    text = str(error) if isinstance(error, httpx.TransportError) else ""
    return RequestFailure("lost", text=f"{type(error).__name__}{': ' if text else ''}{printable(text)[:_MAX_MESSAGE]}")


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise RequestFailed(RequestFailure("unusable", text="not JSON")) from None


class Watcher:
    """Lists and watches all resources until it is canceled."""

    def __init__(self, api: ApiServer, index: ClusterIndex, *, page_size: int, node: str = "", on_note: OnNote) -> None:
        """Prepare; nothing is requested. page_size: objects per page of a list. node: only its pods; empty for all."""
        self.listed = asyncio.Event()
        """Set once all resources were listed."""
        self.reflectors = {name: Reflector(random.random) for name in RESOURCES}
        self._api = api
        self._index = index
        self._page_size = page_size
        self._node = node
        self._on_note = on_note
        self._failing: set[str] = set()
        self._report_at = 0.0

    async def run(self) -> None:
        """List and watch; never returns."""
        async with asyncio.TaskGroup() as tasks:
            for resource in RESOURCES.values():
                tasks.create_task(self._hold(resource, self.reflectors[resource.name]))

    async def _hold(self, resource: Resource, reflector: Reflector) -> None:
        is_selected = bool(self._node) and resource.name == "pods"
        selection = ListOptions(self._page_size, f"spec.nodeName={self._node}" if is_selected else "")
        while True:
            failure = await self._request(resource, reflector, selection)
            if failure is not None:
                wait = reflector.failed(failure)
                self._failed(resource, failure)
                await asyncio.sleep(wait)

    async def _request(self, resource: Resource, reflector: Reflector, selection: ListOptions) -> RequestFailure | None:
        try:
            match reflector.next_request():
                case ListRequest(continues):
                    items = reflector.take_page(await self._api.page(resource, selection, continues))
                    self._answered(resource)
                    if items is not None:
                        self._index.replace(resource.name, items)
                        if self._index.is_complete:
                            self.listed.set()
                    return None
                case WatchRequest(version):
                    return await self._watch(resource, reflector, selection, version)
        except RequestFailed as error:
            return error.failure

    async def _watch(
        self, resource: Resource, reflector: Reflector, selection: ListOptions, version: str
    ) -> RequestFailure | None:
        began = time.monotonic()
        async for event in self._api.watch(resource, selection, version):
            if event is OPENED:
                self._answered(resource)
                continue
            if (failure := reflector.take_event(event)) is not None:
                return failure
            if event.item is None:
                continue
            if event.type == "DELETED":
                self._index.delete(resource.name, event.item.uid)
            else:
                self._index.put(resource.name, event.item)
        return reflector.ended(time.monotonic() - began)

    def _failed(self, resource: Resource, failure: RequestFailure) -> None:
        # Watches break now and then; only what fails twice in a row, or is refused, is worth a message.
        is_first = resource.name not in self._failing
        self._failing.add(resource.name)
        now = time.monotonic()
        if failure.reason == "gone" or (is_first and failure.reason != "refused") or now < self._report_at:
            return
        self._report_at = now + _REMIND_SECONDS
        others = f" and {len(self._failing) - 1} others" if len(self._failing) > 1 else ""
        hint = ". The rights that it needs are in docs/kubernetes-metadata.md" if failure.code in _RIGHTS else ""
        self._on_note(
            f"{resource.name}{others} cannot be read from {self._api.address} ({failure.text}){hint}.", "warning"
        )

    def _answered(self, resource: Resource) -> None:
        self._failing.discard(resource.name)
        if self._report_at and not self._failing:
            self._report_at = 0.0
            self._on_note(f"everything is read from {self._api.address} again.")
