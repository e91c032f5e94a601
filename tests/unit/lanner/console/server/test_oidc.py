from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import OctKey, RSAKey

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


def test_a_group_without_access_is_refused(served: Served, provider: Provider) -> None:
    """The audit log has the name."""
    provider.claims["groups"] = ["sales"]
    assert attempt(served, provider).status == 403
    assert (served.audit()[-1]["action"], served.audit()[-1]["name"]) == ("sign_in_failed", "alice")


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


def test_a_provider_that_does_not_answer_is_reported(served: Served, provider: Provider) -> None:
    """The page gives the reason."""
    provider.stop()
    answer = served.ask("/sign-in/oidc")
    assert answer.status == 502
    assert "the provider doesn&#39;t answer" in answer.text
