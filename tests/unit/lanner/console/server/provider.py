"""A small OpenID provider: discovery, keys, authorization and tokens, signed with a real key."""

import base64
import json
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs, urlsplit

from aiohttp import web
from joserfc import jwt
from joserfc.jwk import RSAKey

from foundation.http_server import HttpLimits, HttpThread


class Provider:
    """Signs in whoever comes, with the claims that the test sets."""

    def __init__(self) -> None:
        """Start it."""
        self.key = RSAKey.generate_key(2048, {"kid": "1"})
        self.claims: dict[str, Any] = {"sub": "42", "preferred_username": "alice", "groups": ["soc"]}
        self.changes: dict[str, Any] = {}
        """Claims that replace those of the protocol."""
        self.info: dict[str, Any] = {}
        """Claims of UserInfo; without them, there is none."""
        self.header: dict[str, Any] = {"alg": "RS256", "kid": "1"}
        self.signing_key: Any = self.key
        self.unsigned = False
        self._codes: dict[str, dict[str, str]] = {}
        self._http = HttpThread("provider", self._application, HttpLimits())
        self._http.start("127.0.0.1", 0)
        self.issuer = f"http://127.0.0.1:{self._http.port}"

    def stop(self) -> None:
        """Stop it."""
        self._http.stop(5)

    def authorize(self, url: str) -> tuple[str, str]:
        """Do what the page does after a person agreed: return state and code."""
        parts = urlsplit(url)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        assert (parts.path, query["response_type"], query["code_challenge_method"]) == ("/authorize", "code", "S256")
        code = secrets.token_urlsafe()
        self._codes[code] = query
        return query["state"], code

    @asynccontextmanager
    async def _application(self) -> AsyncIterator[web.Application]:
        app = web.Application()
        app.router.add_get("/.well-known/openid-configuration", self._configuration)
        app.router.add_get("/keys", self._keys)
        app.router.add_post("/token", self._token)
        app.router.add_get("/userinfo", self._info)
        yield app

    async def _configuration(self, _: web.Request) -> web.Response:
        pages = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
        urls = {name: f"{self.issuer}/{path}" for name, path in pages.items()}
        more = {"userinfo_endpoint": f"{self.issuer}/userinfo"} if self.info else {}
        return web.json_response({"issuer": self.issuer} | urls | more)

    async def _keys(self, _: web.Request) -> web.Response:
        return web.json_response({"keys": [self.key.as_dict(private=False)]})

    async def _info(self, request: web.Request) -> web.Response:
        is_allowed = request.headers["Authorization"] == "Bearer opaque"
        return web.json_response(self.info, status=200 if is_allowed else 401)

    async def _token(self, request: web.Request) -> web.Response:
        form = await request.post()
        query = self._codes.pop(str(form["code"]), None)
        challenge = base64.urlsafe_b64encode(sha256(str(form["code_verifier"]).encode()).digest()).rstrip(b"=").decode()
        client = base64.b64decode(request.headers["Authorization"].removeprefix("Basic ")).decode()
        if query is None or query["code_challenge"] != challenge or client != "lanner:a+secret%26":
            return web.json_response({"error": "invalid_grant"}, status=400)
        now = int(time.time())
        own = {"iss": self.issuer, "aud": query["client_id"], "iat": now, "exp": now + 60, "nonce": query["nonce"]}
        token = jwt.encode(self.header, self.claims | own | self.changes, self.signing_key)
        if self.unsigned:
            token = f"{_part({'alg': 'none'})}.{token.split('.')[1]}."
        return web.json_response({"access_token": "opaque", "token_type": "Bearer", "id_token": token})


def _part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()
