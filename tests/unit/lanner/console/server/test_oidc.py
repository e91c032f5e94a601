import asyncio
from collections.abc import Iterator, Sized
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import OctKey, RSAKey

from lanner.console.sign_in import OpenIdClient, OpenIdProvider, SignInFailed
from tests.unit.lanner.console.server.conftest import Serve
from tests.unit.lanner.console.server.provider import Provider
from tests.unit.lanner.console.server.running import Answer, Served


@pytest.fixture
def provider() -> Iterator[Provider]:
    """Return a provider that runs."""
    made = Provider()
    yield made
    made.stop()


@pytest.fixture
def served(serve: Serve, provider: Provider, tmp_path: Path) -> Served:
    """Return a console that signs in at the provider."""
    (tmp_path / "secret").write_text("a secret&\n")
    return serve(
        f"console.oidc_issuer={provider.issuer}",
        "console.oidc_client_id=lanner",
        f"console.oidc_client_secret_file={tmp_path / 'secret'}",
        "console.public_url=http://127.0.0.1:28779",
        "console.analyst_groups=[soc]",
        "console.viewer_groups=[dev]",
    )


def attempt(served: Served, provider: Provider, state: str = "", cookie: str = "") -> Answer:
    """Go to the provider and come back."""
    begun = served.ask("/sign-in/oidc")
    assert begun.status == 303
    assert "redirect_uri=http" in begun.headers["location"]
    own, code = provider.authorize(begun.headers["location"])
    held = cookie or begun.headers["set-cookie"].partition(";")[0]
    return served.ask(f"/sign-in/oidc/callback?state={state or own}&code={code}", headers={"Cookie": held})


def who(served: Served, answer: Answer) -> Any:
    """Return who is signed in by an answer's cookie."""
    return served.ask("/api/me", headers={"Cookie": answer.headers["set-cookie"].partition(";")[0]}).json


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"groups": ["soc"]}, {"name": "alice", "role": "analyst", "method": "oidc"}),
        ({"groups": ["dev"]}, {"name": "alice", "role": "viewer", "method": "oidc"}),
        ({"groups": "dev", "preferred_username": ""}, {"name": "42", "role": "viewer", "method": "oidc"}),
    ],
)
def test_a_person_signs_in_at_the_provider(
    claims: dict[str, Any], expected: dict[str, str], served: Served, provider: Provider
) -> None:
    """Groups of the id token give the role."""
    provider.claims |= claims
    answer = attempt(served, provider)
    assert (answer.status, answer.headers["location"]) == (303, "/")
    assert who(served, answer) == expected
    assert served.audit()[-1]["action"] == "sign_in"


def test_groups_may_be_in_userinfo(served: Served, provider: Provider) -> None:
    """It must be that of the same person, and what the id token has counts more."""
    del provider.claims["groups"]
    provider.info = {"sub": "42", "preferred_username": "other", "groups": ["soc"]}
    assert who(served, attempt(served, provider)) == {"name": "alice", "role": "analyst", "method": "oidc"}
    provider.info["sub"] = "43"
    answer = attempt(served, provider)
    assert (answer.status, "another person" in answer.text) == (403, True)


@pytest.mark.parametrize("groups", [None, 7, {"soc": 1}, [["soc"], None], ""])
def test_groups_that_are_no_list_of_texts_give_no_access(groups: object, served: Served, provider: Provider) -> None:
    """Nor do they break anything."""
    provider.claims["groups"] = groups
    assert attempt(served, provider).status == 403


def test_a_group_without_access_is_refused(served: Served, provider: Provider) -> None:
    """The audit log has the name."""
    provider.claims["groups"] = ["sales"]
    assert attempt(served, provider).status == 403
    assert [served.audit()[-1][key] for key in ("action", "name", "subject")] == ["sign_in_failed", "alice", "42"]


@pytest.mark.parametrize(
    "changes",
    [
        {"nonce": "other"},
        {"aud": "another"},
        {"iss": "https://evil.example"},
        {"exp": 1},
        {"aud": ["lanner", "x"], "azp": "x"},
    ],
)
def test_a_token_with_wrong_claims_is_refused(changes: dict[str, Any], served: Served, provider: Provider) -> None:
    """For another client, of another provider, expired, or replayed."""
    provider.changes = changes
    assert attempt(served, provider).status == 403


@pytest.mark.parametrize("wrong", ["key", "symmetric", "unsigned"])
def test_a_token_that_the_provider_did_not_sign_is_refused(wrong: str, served: Served, provider: Provider) -> None:
    """By another key, by a secret, or by nothing."""
    if wrong == "key":
        provider.signing_key = RSAKey.generate_key(2048, {"kid": "1"})
    elif wrong == "symmetric":
        provider.header, provider.signing_key = {"alg": "HS256"}, OctKey.import_key("a secret of sixteen bytes or more")
    else:
        provider.unsigned = True
    assert attempt(served, provider).status == 403


def test_a_new_key_of_the_provider_is_fetched(served: Served, provider: Provider) -> None:
    """Keys change without a restart of the console."""
    assert attempt(served, provider).status == 303
    provider.key = provider.signing_key = RSAKey.generate_key(2048, {"kid": "2"})
    provider.header = {"alg": "RS256", "kid": "2"}
    assert attempt(served, provider).status == 303


def test_an_answer_for_another_browser_or_a_second_use_is_refused(served: Served, provider: Provider) -> None:
    """The state belongs to the browser that began, and counts once."""
    assert attempt(served, provider, cookie="lanner_sign_in=other").status == 403
    assert attempt(served, provider, state="other").status == 403
    begun = served.ask("/sign-in/oidc")
    state, code = provider.authorize(begun.headers["location"])
    back = f"/sign-in/oidc/callback?state={state}&code={code}"
    held = {"Cookie": begun.headers["set-cookie"].partition(";")[0]}
    assert served.ask(back, headers=held).status == 303
    assert served.ask(back, headers=held).status == 403


def test_attempts_of_others_push_nobodys_out(served: Served, provider: Provider) -> None:
    """However many are begun: nothing of them is stored here."""
    begun = served.ask("/sign-in/oidc")
    state, code = provider.authorize(begun.headers["location"])
    client = OpenIdProvider(OpenIdClient(provider.issuer, "lanner", "", "", "groups"))

    async def begin() -> int:
        return len({(await client.begin())[1] for _ in range(3000)})

    assert asyncio.run(begin()) == 3000
    assert not any(isinstance(each, Sized) and len(each) > 100 for each in vars(client).values())
    held = {"Cookie": begun.headers["set-cookie"].partition(";")[0]}
    assert served.ask(f"/sign-in/oidc/callback?state={state}&code={code}", headers=held).status == 303


def test_a_state_that_was_made_up_or_is_old_is_refused(provider: Provider) -> None:
    """Whoever chooses the state, and its cookie, has no signature for it."""
    now = [1000.0]
    client = OpenIdProvider(OpenIdClient(provider.issuer, "lanner", "", "", "groups"), lambda: now[0])

    async def finish() -> None:
        _, state = await client.begin()
        now[0] += 601
        for each in (state, "1600.x.y", "1600.x.", "..", "", "\ud800", state.replace("1000.", "1600.")):
            with pytest.raises(SignInFailed, match="too old"):
                await client.finish({"state": each, "code": "x"})

    asyncio.run(finish())


def test_returns_from_the_provider_are_limited_by_client(served: Served) -> None:
    """Each would be a line of the audit log, and a request to the provider."""
    statuses = [served.ask("/sign-in/oidc/callback?state=x").status for _ in range(150)]
    assert statuses[:60] == [403] * 60
    assert 429 in statuses


def test_a_provider_that_does_not_answer_is_reported(served: Served, provider: Provider) -> None:
    """The page gives the reason."""
    provider.stop()
    answer = served.ask("/sign-in/oidc")
    assert answer.status == 502
    assert "the provider doesn&#39;t answer" in answer.text
