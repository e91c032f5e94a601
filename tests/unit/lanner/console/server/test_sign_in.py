import http.client
import ssl
from pathlib import Path
from urllib.parse import urlencode

import pytest

from lanner.console.accounts import Accounts
from lanner.console.server.views.sign_in import local_path
from lanner.errors import BadInput
from lanner.wiring.stages.console import PEOPLE
from tests.live.notifier.certificates import make_certificates
from tests.unit.lanner.console.server.conftest import Serve
from tests.unit.lanner.console.server.running import HEADER, Answer, Served

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture
def tokens(tmp_path: Path) -> dict[str, str]:
    """Return a viewer's and an analyst's token, made before the console starts."""
    (tmp_path / "console").mkdir()
    accounts = Accounts(tmp_path / "console" / PEOPLE)
    made = {role: accounts.create_token(role, role, 0) for role in ("viewer", "analyst")}  # type: ignore[arg-type]
    accounts.close()
    return made


def sign_in(served: Served, token: str, then: str = "/", **headers: str) -> Answer:
    """Send the form of the sign-in page as a browser does."""
    origin = {"Origin": f"http://127.0.0.1:{served.port}"}
    data = urlencode({"token": token, "next": then}).encode()
    return served.ask("/sign-in", data, headers=FORM | origin | headers)


def cookie(answer: Answer) -> dict[str, str]:
    """Return the header with the cookie that an answer sets."""
    return {"Cookie": answer.headers["set-cookie"].partition(";")[0]}


def test_nobody_is_let_in_without_a_token(serve: Serve, tokens: dict[str, str]) -> None:
    """Pages lead to the sign-in page, the API answers 401; files and health need none."""
    served = serve()
    page = served.ask("/groups/a?since=7d")
    assert (page.status, page.headers["location"]) == (303, "/sign-in?next=/groups/a?since%3D7d")
    assert served.ask("/api/groups").status == served.ask("/api/live").status == 401
    assert served.ask("/api/marks", {}, headers=HEADER).status == served.ask("/sign-out", b"").status == 401
    assert served.ask("/healthz").status == served.ask("/static/console.css").status == 200
    assert served.ask("/api/me", headers={"Authorization": f"Bearer {tokens['viewer']}x"}).status == 401
    assert "Token" in served.ask("/sign-in").text


def test_a_token_begins_a_session_that_ends_with_signing_out(serve: Serve, tokens: dict[str, str]) -> None:
    """The cookie is out of reach of scripts and of other sites' requests."""
    served = serve()
    answer = sign_in(served, tokens["analyst"], "/groups/a")
    assert (answer.status, answer.headers["location"]) == (303, "/groups/a")
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(answer.headers["set-cookie"].split("; "))
    session = cookie(answer)
    assert served.ask("/api/me", headers=session).json == {"name": "analyst", "role": "analyst", "method": "token"}
    assert served.ask("/", headers=session).status == 200
    assert served.ask("/sign-out", b"", headers=session).status == 403
    origin = {"Origin": f"http://127.0.0.1:{served.port}"}
    assert served.ask("/sign-out", b"", headers=session | origin).status == 303
    assert served.ask("/api/me", headers=session).status == 401
    assert [entry["action"] for entry in served.audit()] == ["sign_in", "sign_out"]


def test_a_wrong_token_is_refused_audited_and_slowed_down(serve: Serve, tokens: dict[str, str]) -> None:
    """Guessing is limited by client."""
    served = serve()
    assert tokens
    statuses = [sign_in(served, "lanner_guess").status for _ in range(12)]
    assert statuses == [403] * 10 + [429] * 2
    assert [entry["action"] for entry in served.audit()] == ["sign_in_failed"] * 10
    assert served.audit()[0]["address"] == "127.0.0.1"


def test_the_sign_in_form_of_another_site_is_refused(serve: Serve, tokens: dict[str, str]) -> None:
    """Otherwise it could sign a person in as somebody else."""
    served = serve()
    assert sign_in(served, tokens["viewer"], Origin="https://evil.example").status == 403


def test_a_viewer_may_look_and_decide_nothing(serve: Serve, tokens: dict[str, str]) -> None:
    """A program with a token needs no cookie and no header of a page."""
    served = serve()
    body = {"subject": "group:none", "action": "reopen"}
    for role, status in (("viewer", 403), ("analyst", 404)):
        bearer = {"Authorization": f"Bearer {tokens[role]}"}
        assert served.ask("/api/groups", headers=bearer).status == 200
        assert served.ask("/api/marks", body, headers=bearer).status == status


@pytest.mark.parametrize(
    "text", ["https://evil.example/", "//evil.example", "/\\evil.example", "evil", "", "/a\r\nX: y"]
)
def test_signing_in_never_leads_to_another_site(text: str) -> None:
    """Only paths of the console are followed."""
    assert local_path(text) == "/"
    assert local_path("/groups/a?since=7d") == "/groups/a?since=7d"


def test_a_proxy_in_the_list_states_who_it_is(serve: Serve) -> None:
    """Its groups give the role; without a name there is no access, and loopback is no longer open."""
    served = serve(
        "console.proxy_addresses=[127.0.0.0/8]", "console.analyst_groups=[soc]", "console.viewer_groups=[dev]"
    )
    for groups, role in (("dev, soc", "analyst"), ("dev", "viewer")):
        headers = {"X-Forwarded-User": "alice", "X-Forwarded-Groups": groups}
        assert served.ask("/api/me", headers=headers).json == {"name": "alice", "role": role, "method": "proxy"}
    assert served.ask("/api/me", headers={"X-Forwarded-User": "eve", "X-Forwarded-Groups": "sales"}).status == 401
    assert served.ask("/api/me").status == 401
    headers = {"X-Forwarded-User": "alice", "X-Forwarded-For": "1.2.3.4, 10.9.8.7", "X-Forwarded-Groups": "soc"}
    assert sign_in(served, "lanner_guess", **headers).status == 403
    assert served.audit()[-1]["address"] == "10.9.8.7"
    assert "proxy" in served.ask("/sign-in").text or "Token" in served.ask("/sign-in").text


def test_the_header_of_any_other_client_is_ignored(serve: Serve) -> None:
    """Anyone could send it."""
    served = serve("console.proxy_addresses=[10.0.0.5]")
    assert served.ask("/api/me", headers={"X-Forwarded-User": "alice"}).status == 401


def test_other_hosts_are_not_served_without_a_way_to_sign_in(serve: Serve) -> None:
    """The message names the ways."""
    with pytest.raises(BadInput, match="lanner console token create"):
        serve(listen="0.0.0.0:0")


@pytest.mark.parametrize(
    ("flags", "part"),
    [
        (["console.proxy_addresses=[10.0.0]"], "proxy_addresses"),
        (["console.oidc_issuer=https://id.example"], "oidc_client_id must be set"),
        (["console.certificate_file=/nowhere.pem"], "nowhere.pem"),
        (["console.key_file=/nowhere.pem"], "certificate_file must be set"),
    ],
)
def test_wrong_settings_are_refused(flags: list[str], part: str, serve: Serve) -> None:
    """With the name of the setting."""
    with pytest.raises(BadInput, match=part):
        serve(*flags)


def test_two_consoles_do_not_share_a_folder(serve: Serve) -> None:
    """The second one is refused."""
    serve()
    with pytest.raises(BadInput, match="another console"):
        serve()


def test_with_a_certificate_cookies_are_bound_to_https(serve: Serve, tmp_path: Path, tokens: dict[str, str]) -> None:
    """Answers require HTTPS from then on."""
    files = make_certificates(tmp_path)
    served = serve(f"console.certificate_file={files.server}", f"console.key_file={files.server_key}")
    context = ssl.create_default_context(cafile=files.authority)
    connection = http.client.HTTPSConnection("127.0.0.1", served.port, context=context)
    origin = f"https://127.0.0.1:{served.port}"
    body = urlencode({"token": tokens["viewer"]})
    connection.request("POST", "/sign-in", body, FORM | {"Origin": origin})
    answer = connection.getresponse()
    assert answer.status == 303
    set_cookie = answer.headers["Set-Cookie"]
    assert set_cookie.startswith("__Host-lanner_session=")
    assert "Secure" in set_cookie
    assert "max-age" in answer.headers["Strict-Transport-Security"]
    connection.close()


def test_a_console_accepts_the_tokens_of_a_file(serve: Serve, tmp_path: Path) -> None:
    """And nobody without one."""
    file = tmp_path / "tokens"
    file.write_text(f"alice analyst {'a' * 40}\n")
    served = serve(f"console.tokens_file={file}")
    assert served.ask("/api/me").status == 401
    answer = served.ask("/api/me", headers={"Authorization": f"Bearer {'a' * 40}"})
    assert answer.json == {"name": "alice", "role": "analyst", "method": "token"}
