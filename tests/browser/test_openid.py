"""People sign in to the console at a real OpenID provider, with a real browser, and in ways that must fail."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Serve
from tests.browser.openid import SECRET, OpenIdProvider
from tests.ports import free_ports
from tests.unit.lanner.console.server.running import Served


@dataclass
class Office:
    """A console, its provider, and somebody's browser."""

    served: Served
    provider: OpenIdProvider
    page: Page

    @property
    def console(self) -> str:
        """The console's address."""
        return f"http://127.0.0.1:{self.served.port}"

    def begun(self) -> str:
        """Begin to sign in; return the provider's page to go to."""
        answer = self.page.request.get(f"{self.console}/sign-in/oidc", max_redirects=0)
        assert answer.status == 303
        return answer.headers["location"]

    def answered(self, url: str) -> str:
        """Sign in at the provider without a page; return the console's page that it leads to, without opening it."""
        ask, form = self.page.request, dict[str, Any]()
        for _ in range(10):
            answer = ask.post(url, form=form, max_redirects=0) if form else ask.get(url, max_redirects=0)
            form = {}
            if answer.status == 303:
                url = urljoin(url, answer.headers["location"])
                if url.startswith(f"{self.console}/"):
                    return url
                continue
            text = answer.text()
            url = urljoin(url, re.findall('action="([^"]+)"', text)[0])
            form = {
                "prompt": re.findall('name="prompt" value="([a-z]+)"', text)[0],
                "login": "alice",
                "password": "any",
            }
        raise AssertionError(url)

    def who(self) -> Any:
        """Return who is signed in."""
        return self.page.request.get(f"{self.console}/api/me").json()


def at_provider(page: Page) -> None:
    """Fill in the provider's form, and consent."""
    page.locator("[name=login]").fill("alice")
    page.locator("[name=password]").fill("any")
    page.locator("[type=submit]").click()
    page.get_by_role("button", name="Continue").click()


@pytest.fixture
def office(serve: Serve, chromium: Browser, tmp_path: Path) -> Iterator[Callable[..., Office]]:
    """Return a function that starts all three."""
    offices = list[Office]()

    def start(*flags: str, **client: Any) -> Office:
        port = free_ports(1)[0]
        console = f"http://127.0.0.1:{port}"
        provider = OpenIdProvider(console, **client)
        (tmp_path / "secret").write_text(SECRET)
        served = serve(
            f"console.oidc_issuer={provider.issuer}",
            "console.oidc_client_id=lanner",
            "console.oidc_scopes=[openid, profile, groups]",
            f"console.oidc_client_secret_file={tmp_path / 'secret'}",
            f"console.public_url={console}",
            "console.analyst_groups=[soc]",
            *flags,
            listen=f"127.0.0.1:{port}",
        )
        offices.append(Office(served, provider, chromium.new_context().new_page()))
        return offices[-1]

    yield start
    for each in offices:
        each.page.context.close()
        each.provider.stop()


def test_a_person_signs_in_and_out(office: Callable[..., Office]) -> None:
    """Name and groups come from UserInfo; the log has the identifier that nobody else can have."""
    made = office()
    page = made.page
    page.goto(made.console)
    page.get_by_role("link", name="Sign in with your organization").click()
    at_provider(page)
    expect(page.locator(".who")).to_have_text("alice@office")
    assert made.who() == {"name": "alice@office", "role": "analyst", "method": "oidc"}
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert made.who() == {"error": "Sign in first."}
    assert [(each["action"], each["name"], each["subject"]) for each in made.served.audit()] == [
        ("sign_in", "alice@office", "alice"),
        ("sign_out", "alice@office", ""),
    ]


def test_a_person_who_cancels_at_the_provider_sees_why(office: Callable[..., Office]) -> None:
    """Not that the answer is for another browser."""
    made = office()
    made.page.goto(made.begun())
    made.page.get_by_text("Cancel").click()
    expect(made.page.get_by_role("alert")).to_contain_text("the provider answers access_denied")


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (("nonce=[^&]+", "nonce=of-another-sign-in"), "Invalid claim: 'nonce'"),
        (("code_challenge=[^&]+", f"code_challenge={'A' * 43}"), "invalid_grant"),
    ],
)
def test_a_request_that_was_changed_on_its_way_signs_nobody_in(
    changed: tuple[str, str], reason: str, office: Callable[..., Office]
) -> None:
    """The provider's answer fits another attempt."""
    made = office()
    made.page.goto(re.sub(*changed, made.begun()))
    at_provider(made.page)
    expect(made.page.get_by_role("alert")).to_contain_text(reason)
    assert "error" in made.who()


def test_an_answer_counts_once_and_for_its_browser_and_provider(office: Callable[..., Office]) -> None:
    """A code that was used, stolen, or sent by another provider signs nobody in."""
    made = office()
    back = made.answered(made.begun())
    page = made.page
    with page.context.browser.new_context() as other:  # type: ignore[union-attr]
        assert other.request.get(back).status == 403
        # A code of this person in an attempt of another browser.
        own = other.request.get(f"{made.console}/sign-in/oidc", max_redirects=0).headers["location"]
        state = re.findall("state=[^&]+", own)[0]
        stolen = other.request.get(re.sub("state=[^&]+", state, back))
        assert (stolen.status, "invalid_grant" in stolen.text()) == (403, True)
    for times, status in enumerate((200, 403)):
        answer = page.request.get(back)
        assert answer.status == status, times
    mixed = re.sub("iss=[^&]+", "iss=https%3A%2F%2Fevil.example", made.answered(made.begun()))
    answer = page.request.get(mixed)
    assert (answer.status, "of another provider" in answer.text()) == (403, True)


def test_a_token_that_is_signed_with_the_secret_is_refused(office: Callable[..., Office]) -> None:
    """Others may know it: only the provider has its key."""
    made = office(id_token_signed_response_alg="HS256")
    made.page.goto(made.begun())
    at_provider(made.page)
    expect(made.page.get_by_role("alert")).to_contain_text("HS256")


def test_a_provider_may_go_away_and_come_back_with_another_key(office: Callable[..., Office]) -> None:
    """The page states that it is away; afterwards, people sign in as before."""
    made = office()
    back = made.answered(made.begun())
    made.provider.stop()
    made.page.goto(back)
    expect(made.page.get_by_role("alert")).to_contain_text("the provider doesn't answer")
    made.provider.start()
    made.page.goto(made.answered(made.begun()))
    assert made.who()["role"] == "analyst"
