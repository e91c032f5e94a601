"""Requests to the API server. lightkube reads the credentials, renews tokens and checks certificates.

Answers are read in bounded parts, and failures never contain a header or an address with credentials.
"""

import json
import random
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx2 as httpx
from lightkube.config.client_adapter import AsyncClient, ConnectionParams
from lightkube.config.kubeconfig import SERVICE_ACCOUNT, KubeConfig, SingleConfig
from lightkube.config.models import User
from lightkube.core.exceptions import ConfigError

from collector.kubernetes.objects import (
    Page,
    Resource,
    UnusableAnswer,
    WatchEvent,
    decode_event,
    decode_page,
    decode_status,
)
from collector.kubernetes.reflector import GONE, Reason, RequestFailure
from foundation.errors import LannerError
from foundation.text import printable

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
