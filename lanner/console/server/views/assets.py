"""Scripts, styles and the description of the API: files of the package, read once."""

import json
from functools import cache
from hashlib import sha256
from http import HTTPStatus
from importlib.resources import files

import yaml
from aiohttp import web

from lanner.console.server.guard import failure

_KINDS = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
_FILES = {
    item.name: item.read_bytes()
    for item in files("lanner.console.pages").joinpath("static").iterdir()
    if item.name.rpartition(".")[2] in _KINDS
}
_TAGS = {name: f'"{sha256(data).hexdigest()[:16]}"' for name, data in _FILES.items()}


async def static(request: web.Request) -> web.StreamResponse:
    """Return a file, unless the browser has it."""
    name = request.match_info["name"]
    if name not in _FILES:
        return failure(request, HTTPStatus.NOT_FOUND, "There is no such file.")
    headers = {"ETag": _TAGS[name]}
    if request.headers.get("If-None-Match") == _TAGS[name]:
        return web.Response(status=HTTPStatus.NOT_MODIFIED, headers=headers)
    return web.Response(
        body=_FILES[name], content_type=_KINDS[name.rpartition(".")[2]], charset="utf-8", headers=headers
    )


async def icon(_: web.Request) -> web.StreamResponse:
    """Return the icon to browsers that ask at the usual path."""
    return web.Response(body=_FILES["icon.svg"], content_type=_KINDS["svg"])


async def description(_: web.Request) -> web.StreamResponse:
    """Return the description of the API as OpenAPI."""
    return web.Response(text=_description(), content_type="application/json")


@cache
def _description() -> str:
    text = files("lanner.console.pages").joinpath("openapi.yaml").read_text(encoding="utf-8")
    return json.dumps(yaml.safe_load(text))


ROUTES = (
    web.get("/static/{name}", static),
    web.get("/favicon.ico", icon),
    web.get("/api/openapi.json", description),
)
