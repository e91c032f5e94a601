"""Signing in and out: with a token, or at an OpenID provider."""

import asyncio
import secrets
from http import HTTPStatus
from urllib.parse import urlsplit

from aiohttp import web

from lanner.console.accounts import Identity
from lanner.console.server.context import IDENTITY, Console, console
from lanner.console.server.guard import CALLBACK, cookie_name
from lanner.console.server.rendering import page
from lanner.console.sign_in import SignInFailed

_ATTEMPT_COOKIE = "lanner_sign_in"
_UNKNOWN = Identity("", "viewer", "local")


async def form(request: web.Request) -> web.StreamResponse:
    """Show the ways to sign in."""
    if IDENTITY in request:
        raise web.HTTPSeeOther(local_path(request.query.get("next", "")))
    return _form(request, "")


async def with_token(request: web.Request) -> web.StreamResponse:
    """Begin a session for the holder of a token."""
    made = console(request)
    values = await request.post()
    now = made.clock() // 1_000_000_000
    found = None
    if made.sign_in.tokens:
        found = await asyncio.to_thread(made.sign_in.accounts.by_token, str(values.get("token", "")).strip(), now)
    if found is None:
        await made.record(request, _UNKNOWN, "sign_in_failed", "", "token")
        return _form(request, "This token is not valid. It may have expired, or was revoked.", HTTPStatus.FORBIDDEN)
    return await _signed_in(request, made, found[0], str(values.get("next", "")), token=found[1])


async def begin(request: web.Request) -> web.StreamResponse:
    """Send the browser to the OpenID provider."""
    made = console(request)
    if made.sign_in.provider is None:
        raise web.HTTPNotFound
    try:
        url, state = await made.sign_in.provider.begin()
    except SignInFailed as error:
        return _form(request, f"Signing in failed: {error}.", HTTPStatus.BAD_GATEWAY)
    answer = web.HTTPSeeOther(url)
    # Binds the attempt to this browser; it returns from another site, so the cookie must be lax.
    answer.set_cookie(
        _ATTEMPT_COOKIE, state, max_age=600, path=CALLBACK, httponly=True, samesite="Lax", secure=made.is_secure
    )
    raise answer


async def callback(request: web.Request) -> web.StreamResponse:
    """Begin a session for a person who comes back from the OpenID provider."""
    made = console(request)
    state, expected = request.query.get("state", ""), request.cookies.get(_ATTEMPT_COOKIE, "")
    is_own = bool(state) and secrets.compare_digest(state.encode(), expected.encode(errors="replace"))
    if made.sign_in.provider is None or not is_own:
        return _form(request, "Signing in failed: the provider's answer is not for this browser.", HTTPStatus.FORBIDDEN)
    try:
        person = await made.sign_in.provider.finish(request.query)
    except SignInFailed as error:
        await made.record(request, _UNKNOWN, "sign_in_failed", "", f"oidc: {error}")
        return _form(request, f"Signing in failed: {error}.", HTTPStatus.FORBIDDEN)
    found = made.sign_in.with_groups(person.name, person.groups, "oidc")
    if found is None:
        who = Identity(person.name, "viewer", "oidc")
        await made.record(request, who, "sign_in_failed", person.subject, "no group with access")
        return _form(request, "None of your groups has access to this console.", HTTPStatus.FORBIDDEN)
    return await _signed_in(request, made, found, "/", subject=person.subject)


async def sign_out(request: web.Request) -> web.StreamResponse:
    """End the session."""
    made = console(request)
    session = request.cookies.get(cookie_name(made), "")
    if IDENTITY in request:
        await made.record(request, request[IDENTITY], "sign_out")
    await asyncio.to_thread(made.sign_in.accounts.end_session, session)
    answer = web.HTTPSeeOther("/sign-in")
    answer.del_cookie(cookie_name(made), path="/", secure=made.is_secure, httponly=True, samesite="Lax")
    raise answer


def local_path(text: str) -> str:
    """Return a path of this console to go on to; the first page if the text is something else."""
    parts = urlsplit(text)
    is_local = text.startswith("/") and not text.startswith(("//", "/\\")) and not parts.netloc and text.isprintable()
    return text if is_local else "/"


async def _signed_in(
    request: web.Request, made: Console, who: Identity, then: str, *, token: int = 0, subject: str = ""
) -> web.StreamResponse:
    now = made.clock() // 1_000_000_000
    # Names can be chosen at some providers, subjects can't.
    await made.record(request, who, "sign_in", subject)
    # Always a new session: one that was planted in the browser before must not become a valid one.
    secret = await asyncio.to_thread(made.sign_in.accounts.begin_session, who, now, token)
    answer = web.HTTPSeeOther(local_path(then))
    answer.set_cookie(cookie_name(made), secret, path="/", httponly=True, samesite="Lax", secure=made.is_secure)
    raise answer


def _form(request: web.Request, problem: str, status: int = HTTPStatus.OK) -> web.Response:
    sign_in = console(request).sign_in
    return page(
        request,
        "sign_in.html",
        status,
        problem=problem,
        has_tokens=sign_in.tokens,
        has_provider=sign_in.provider is not None,
        next=local_path(request.query.get("next", "")),
    )


ROUTES = (
    web.get("/sign-in", form),
    web.post("/sign-in", with_token),
    web.get("/sign-in/oidc", begin),
    web.get(CALLBACK, callback),
    web.post("/sign-out", sign_out),
)
