"""The ways to sign in that the settings allow, and who a request is from.

Sign-in with an OpenID provider is the authorization code flow with PKCE, state and nonce. Authlib makes the challenge
and checks the claims, joserfc checks the signature, aiohttp makes the requests.
Sources: OpenID Connect Core 1.0, sections 3.1 and 5.3; RFC 7636; RFC 9207; RFC 9700.
"""

import asyncio
import base64
import hmac
import ipaddress
import json
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
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

from foundation.caches import BoundedSet
from foundation.errors import LannerError
from foundation.text import printable
from lanner.console.accounts import LOCAL, Accounts, Identity, Method, role_of

_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
_TIMEOUT = aiohttp.ClientTimeout(total=10)
_MAX_ANSWER = 1 << 20
_METADATA_SECONDS = 3600.0
_ATTEMPT_SECONDS = 600.0
_MAX_USED = 10_000
_LEEWAY = 60
_MAX_TEXT = 300
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_MAX_NAME = 200


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
    scopes: Sequence[str] = ("openid", "profile", "email")


@dataclass(frozen=True, slots=True)
class OpenIdUser:
    """Somebody as the provider describes them."""

    subject: str
    """The provider's identifier, which never belongs to anybody else."""
    name: str
    groups: Sequence[str]


@dataclass(frozen=True, slots=True)
class _Provider:
    metadata: Mapping[str, Any]
    keys: KeySet
    since: float


class OpenIdProvider:
    """Signs people in.

    The browser stores the state of its attempt, from which a key of this process derives all else: attempts of others
    can't push it out.
    """

    def __init__(self, client: OpenIdClient, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._provider: _Provider | None = None
        self._reading: asyncio.Future[_Provider] | None = None
        self._key = secrets.token_bytes(32)
        self._used: BoundedSet[str] = BoundedSet(_MAX_USED)

    async def begin(self) -> tuple[str, str]:
        """Begin an attempt: return the provider's page to go to, and the state. Raises SignInFailed."""
        provider = await self._metadata()
        begun = f"{self._clock():.0f}.{secrets.token_urlsafe(24)}"
        state = f"{begun}.{self._derived('state', begun)}"
        url = prepare_grant_uri(
            str(provider.metadata.get("authorization_endpoint", "")),
            client_id=self._client.client_id,
            response_type="code",
            redirect_uri=self._client.redirect_uri,
            scope=" ".join(self._client.scopes),
            state=state,
            nonce=self._derived("nonce", state),
            code_challenge=create_s256_code_challenge(self._derived("verifier", state)),
            code_challenge_method="S256",
        )
        return str(url), state

    async def finish(self, answer: Mapping[str, str]) -> OpenIdUser:
        """Return the person who comes back from the provider, by its answer's parameters. Raises SignInFailed."""
        state = answer.get("state", "")
        begun, _, signature = state.rpartition(".")
        is_own = hmac.compare_digest(signature.encode(errors="replace"), self._derived("state", begun).encode())
        is_late = is_own and self._clock() - float(begun.partition(".")[0]) > _ATTEMPT_SECONDS
        if not is_own or is_late or not self._used.add(state):
            raise SignInFailed("this sign-in is too old, or was used before")
        if answer.get("iss", self._client.issuer) != self._client.issuer:
            raise SignInFailed("the answer is of another provider")
        if "error" in answer:
            raise SignInFailed(
                f"the provider answers {_text(answer['error'])} {_text(answer.get('error_description', ''))}"
            )
        provider = await self._metadata()
        form = {
            "grant_type": "authorization_code",
            "code": answer.get("code", ""),
            "redirect_uri": self._client.redirect_uri,
            "code_verifier": self._derived("verifier", state),
        }
        tokens = await _fetch(
            str(provider.metadata.get("token_endpoint", "")),
            form,
            # RFC 6749, section 2.3.1: both are encoded as in a form.
            aiohttp.encode_basic_auth(quote_plus(self._client.client_id), quote_plus(self._client.secret)),
        )
        access = str(tokens.get("access_token", ""))
        claims = await self._claims(str(tokens.get("id_token", "")), self._derived("nonce", state), access)
        if self._client.groups_claim not in claims:
            claims = {**await self._info(provider, access, str(claims["sub"])), **claims}
        groups = claims.get(self._client.groups_claim)
        found = [groups] if isinstance(groups, str) else groups if isinstance(groups, list) else ()
        name = claims.get("preferred_username") or claims.get("email") or claims["sub"]
        return OpenIdUser(str(claims["sub"])[:_MAX_TEXT], str(name)[:_MAX_TEXT], [str(each) for each in found])

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

    async def _info(self, provider: _Provider, access_token: str, subject: str) -> Mapping[str, Any]:
        """Return the claims of the provider's UserInfo endpoint, where many have groups and names."""
        url = provider.metadata.get("userinfo_endpoint")
        if not url or not access_token:
            return {}
        found = await _fetch(str(url), authorization=f"Bearer {access_token}")
        if found.get("sub") != subject:
            raise SignInFailed("the provider's UserInfo is of another person")
        return found

    def _derived(self, purpose: str, text: str) -> str:
        """Return a secret of an attempt, or the signature of its state."""
        digest = hmac.digest(self._key, f"{purpose} {text}".encode(errors="replace"), "sha256")
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")

    async def _metadata(self, *, refresh: bool = False) -> _Provider:
        known = self._provider
        if known is not None and not refresh and self._clock() - known.since < _METADATA_SECONDS:
            return known
        # Once for all who wait: the provider may be slow, and anyone can begin to sign in.
        if self._reading is None or self._reading.done():
            self._reading = asyncio.ensure_future(self._read())
        return await asyncio.shield(self._reading)

    async def _read(self) -> _Provider:
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
                raise SignInFailed(
                    f"the provider answers {answer.status} at {url}: {_text(body.decode(errors='replace'))}"
                )
            found = json.loads(body)
    except (aiohttp.ClientError, TimeoutError, ValueError, RecursionError) as error:
        raise SignInFailed(f"the provider doesn't answer at {url}: {error or 'no answer in time'}") from None
    if not isinstance(found, dict):
        raise SignInFailed(f"the provider's answer at {url} is not a JSON object")
    return found


def _text(text: str) -> str:
    """Return the beginning of a text that the provider or the browser sent, for people."""
    return printable(text[:_MAX_TEXT])


async def _body(answer: aiohttp.ClientResponse) -> bytes:
    """Read an answer of limited size. Raises SignInFailed."""
    body = b""
    async for part in answer.content.iter_chunked(1 << 16):
        body += part
        if len(body) > _MAX_ANSWER:
            raise SignInFailed(f"the provider's answer at {answer.url} is too large")
    return body


@dataclass(frozen=True, slots=True)
class Proxy:
    """Reverse proxies that authenticate people."""

    networks: Sequence[Network]
    user_header: str
    groups_header: str


@dataclass(frozen=True, slots=True)
class SignIn:
    """The configured ways to sign in."""

    accounts: Accounts
    is_open: bool = False
    """True if everyone who can connect is `local`; only on the loopback address."""
    tokens: bool = True
    proxy: Proxy | None = None
    provider: OpenIdProvider | None = None
    analysts: frozenset[str] = field(default_factory=frozenset)
    viewers: frozenset[str] = field(default_factory=frozenset)

    def by_request(self, address: str, headers: Mapping[str, str], session: str, now: int) -> Identity | None:
        """Return who a request is from, by address, headers and session cookie; None if nobody is signed in.

        now: seconds since the epoch. Raises OSError.
        """
        if self.proxy is not None and (found := self._by_proxy(address, headers)) is not None:
            return found
        kind, _, bearer = headers.get("Authorization", "").partition(" ")
        if self.tokens and kind.lower() == "bearer" and bearer.strip():
            found_token = self.accounts.by_token(bearer.strip(), now)
            return found_token[0] if found_token else None
        if session and (found := self.accounts.by_session(session, now)) is not None:
            return found
        return LOCAL if self.is_open else None

    def with_groups(self, name: str, groups: Sequence[str], method: Method) -> Identity | None:
        """Return a person with the role that its groups give; None for no access."""
        role = role_of(groups, self.analysts, self.viewers)
        return None if role is None else Identity(name[:_MAX_NAME], role, method)

    def is_proxy(self, address: str) -> bool:
        """Return whether an address is that of a proxy that is trusted."""
        if self.proxy is None:
            return False
        try:
            found = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(found, "ipv4_mapped", None)
        return any((mapped or found) in network for network in self.proxy.networks)

    def _by_proxy(self, address: str, headers: Mapping[str, str]) -> Identity | None:
        if self.proxy is None or not self.is_proxy(address):
            return None
        name = headers.get(self.proxy.user_header, "").strip()
        groups = [group.strip() for group in headers.get(self.proxy.groups_header, "").split(",")]
        return self.with_groups(name, [group for group in groups if group], "proxy") if name else None
