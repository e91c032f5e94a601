"""Sign-in with an OpenID provider: authorization code flow with PKCE, state and nonce.

Authlib makes the challenge and checks the claims, joserfc checks the signature, aiohttp makes the requests.
Sources: OpenID Connect Core 1.0, section 3.1; RFC 7636; RFC 9700.
"""

import json
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import quote_plus

import aiohttp
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from schemas.caching.bounded import BoundedMap
from schemas.errors import LannerError

_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
_TIMEOUT = aiohttp.ClientTimeout(total=10)
_MAX_ANSWER = 1 << 20
_METADATA_SECONDS = 3600.0
_ATTEMPT_SECONDS = 600.0
_MAX_ATTEMPTS = 1000
_LEEWAY = 60


class SignInFailed(LannerError):
    """The provider didn't confirm who somebody is; the message gives the reason."""


@dataclass(frozen=True, slots=True)
class OpenIdClient:
    """This console at the provider."""

    issuer: str
    client_id: str
    secret: str
    redirect_uri: str
    groups_claim: str


@dataclass(frozen=True, slots=True)
class _Attempt:
    nonce: str
    verifier: str
    since: float


@dataclass(frozen=True, slots=True)
class _Provider:
    metadata: Mapping[str, Any]
    keys: KeySet
    since: float


class OpenIdProvider:
    """Signs people in."""

    def __init__(self, client: OpenIdClient, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._provider: _Provider | None = None
        self._attempts: BoundedMap[str, _Attempt] = BoundedMap(_MAX_ATTEMPTS)

    async def begin(self) -> tuple[str, str]:
        """Begin an attempt: return the provider's page to go to, and the state. Raises SignInFailed."""
        provider = await self._metadata()
        state = secrets.token_urlsafe(24)
        attempt = _Attempt(secrets.token_urlsafe(24), secrets.token_urlsafe(48), self._clock())
        self._attempts.put(state, attempt)
        url = prepare_grant_uri(
            str(provider.metadata.get("authorization_endpoint", "")),
            client_id=self._client.client_id,
            response_type="code",
            redirect_uri=self._client.redirect_uri,
            scope="openid profile email",
            state=state,
            nonce=attempt.nonce,
            code_challenge=create_s256_code_challenge(attempt.verifier),
            code_challenge_method="S256",
        )
        return str(url), state

    async def finish(self, state: str, code: str) -> tuple[str, Sequence[str]]:
        """Return the name and groups of the person who came back with a code. Raises SignInFailed."""
        attempt = self._attempts.get(state)
        # A state is used once.
        self._attempts.put(state, _Attempt("", "", float("-inf")))
        if attempt is None or self._clock() - attempt.since > _ATTEMPT_SECONDS:
            raise SignInFailed("this sign-in is too old, or was used before")
        provider = await self._metadata()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._client.redirect_uri,
            "code_verifier": attempt.verifier,
        }
        answer = await _fetch(
            str(provider.metadata.get("token_endpoint", "")),
            form,
            # RFC 6749, section 2.3.1: both are encoded as in a form.
            aiohttp.encode_basic_auth(quote_plus(self._client.client_id), quote_plus(self._client.secret)),
        )
        claims = await self._claims(str(answer.get("id_token", "")), attempt.nonce, str(answer.get("access_token", "")))
        groups = claims.get(self._client.groups_claim, ())
        name = claims.get("preferred_username") or claims.get("email") or claims["sub"]
        return str(name), [str(group) for group in ([groups] if isinstance(groups, str) else groups)]

    async def _claims(self, token: str, nonce: str, access_token: str) -> Mapping[str, Any]:
        client = self._client
        for is_last in (False, True):
            provider = await self._metadata(refresh=is_last)
            try:
                decoded = jwt.decode(token, provider.keys, algorithms=_ALGORITHMS)
                claims = CodeIDToken(
                    decoded.claims,
                    decoded.header,
                    options={
                        "iss": {"essential": True, "value": client.issuer},
                        "aud": {"essential": True, "value": client.client_id},
                    },
                    params={"nonce": nonce, "client_id": client.client_id, "access_token": access_token},
                )
                claims.validate(leeway=_LEEWAY)
            except (JoseError, ValueError, KeyError, TypeError) as error:
                # The provider may have changed its keys.
                if is_last:
                    raise SignInFailed(f"the provider's id token is not valid: {error}") from None
            else:
                return dict(claims)
        raise AssertionError

    async def _metadata(self, *, refresh: bool = False) -> _Provider:
        known = self._provider
        if known is not None and not refresh and self._clock() - known.since < _METADATA_SECONDS:
            return known
        metadata = await _fetch(f"{self._client.issuer.rstrip('/')}/.well-known/openid-configuration")
        if metadata.get("issuer") != self._client.issuer:
            raise SignInFailed(f"the provider calls itself {metadata.get('issuer')!r}, not {self._client.issuer!r}")
        keys: Any = await _fetch(str(metadata.get("jwks_uri", "")))
        try:
            found = KeySet.import_key_set(keys)
        except (JoseError, ValueError, KeyError, TypeError) as error:
            raise SignInFailed(f"the provider's keys can't be read: {error}") from None
        self._provider = _Provider(metadata, found, self._clock())
        return self._provider


async def _fetch(url: str, form: Mapping[str, str] | None = None, authorization: str = "") -> Mapping[str, Any]:
    """Return a JSON object from the provider. Raises SignInFailed."""
    method = "GET" if form is None else "POST"
    headers = {"Authorization": authorization} if authorization else {}
    try:
        async with (
            aiohttp.ClientSession(timeout=_TIMEOUT, trust_env=True) as session,
            session.request(method, url, data=form, headers=headers, allow_redirects=False) as answer,
        ):
            body = await _body(answer)
            if answer.status != HTTPStatus.OK:
                raise SignInFailed(f"the provider answers {answer.status} at {url}")
            found = json.loads(body)
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise SignInFailed(f"the provider doesn't answer at {url}: {error or 'no answer in time'}") from None
    if not isinstance(found, dict):
        raise SignInFailed(f"the provider's answer at {url} is not a JSON object")
    return found


async def _body(answer: aiohttp.ClientResponse) -> bytes:
    """Read an answer of limited size. Raises SignInFailed."""
    body = b""
    async for part in answer.content.iter_chunked(1 << 16):
        body += part
        if len(body) > _MAX_ANSWER:
            raise SignInFailed(f"the provider's answer at {answer.url} is too large")
    return body
