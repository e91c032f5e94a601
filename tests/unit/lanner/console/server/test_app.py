import csv
import io
import json
import re
import threading
import time
from html.parser import HTMLParser
from http.client import HTTPConnection

import pytest

from lanner.console.server.guard import POLICY
from lanner.console.server.live import MAX_OF_SESSION
from lanner.console.store.record import OTHER_TEXTS, group_key
from lanner.console.store.view import MAX_TEXTS
from lanner.settings import load_settings
from schemas.alert import Alert
from tests.unit.lanner.console.alerts import HOSTILE, found, hostile_alert
from tests.unit.lanner.console.server.conftest import Serve
from tests.unit.lanner.console.server.running import HEADER, Served


def now_alert(number: int, **facts: object) -> Alert:
    """Make an alert of a few seconds ago."""
    return found(0, id=f"alert-{number}", time=time.time_ns() - number * 10**9, **facts)


@pytest.fixture
def served(serve: Serve) -> Served:
    """Return a console with alerts."""
    made = serve(alerts=[now_alert(number) for number in range(3)])
    made.wait_for(3)
    return made


class Elements(HTMLParser):
    """Collects the elements and attributes of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect one."""
        self.found.append((tag, dict(attrs)))


def test_alerts_of_the_process_are_on_the_page(served: Served) -> None:
    """The page has the group, the group its alerts, the alert its facts."""
    page = served.ask("/")
    assert page.status == 200
    assert "Read sensitive file" in page.text
    key = served.ask("/api/groups").json["groups"][0]["key"]
    assert served.ask(f"/groups/{key}").text.count('href="/alerts/alert-') == 3
    alert = served.ask("/alerts/alert-1").text
    assert "pid=4000" in alert
    assert "Somebody read it." in alert
    assert served.ask("/groups/none").status == served.ask("/alerts/none").status == served.ask("/none").status == 404


@pytest.mark.parametrize("path", ["/nonsense", "/rules/matrix", "/groups/none", "/alerts/none", "/?priority=high"])
def test_an_address_of_nothing_has_a_page_with_a_way_back(path: str, served: Served) -> None:
    """Programs get JSON."""
    answer = served.ask(path)
    assert answer.status in (400, 404)
    assert {"link", "main", "nav"} <= {tag for tag, _ in Elements(answer.text).found}
    assert 'href="/">Show the alerts' in answer.text
    assert served.ask("/api/nonsense").json == {"error": "There is no page at the address /api/nonsense."}


def test_what_is_listed_can_be_saved_as_csv_and_json(serve: Serve) -> None:
    """Texts of an attacker are no formulas for a spreadsheet, and have no lines of their own."""
    texts = ("=1+1", "+1", "-1", "@SUM(1)", "\t=1", '\u202e, "quoted"\nsecond')
    alerts = [now_alert(number, rule=text, output=text, hostname=text) for number, text in enumerate(texts)]
    served = serve(alerts=alerts)
    served.wait_for(len(texts))
    shown = ["'=1+1", "'+1", "'-1", "'@SUM(1)", "'\\t=1", '\\u202e, "quoted"\\nsecond']
    answer = served.ask("/api/groups?format=csv&limit=5000")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="lanner-groups.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert sorted(row["rule"] for row in rows) == sorted(shown)
    assert {row["count"] for row in rows} == {"1"}
    rows = list(csv.DictReader(io.StringIO(served.ask("/api/alerts?format=csv").text)))
    assert [row["host"] for row in rows] == shown
    key = served.ask("/api/groups?format=json").json["groups"][0]["key"]
    assert f"/api/groups/{key}/alerts?since=all&amp;limit=5000&amp;format=csv" in served.ask(f"/groups/{key}").text


def test_columns_are_chosen_in_the_address(served: Served) -> None:
    """Links on the page add and remove one, and keep the filters."""
    text = served.ask("/?columns=first,techniques&host=web-*").text
    headings = [heading.strip() for heading in re.findall(r'<th scope="col"[^>]*>([^<]+)', text)]
    assert headings == ["Priority", "What happened, by rule", "First", "ATT&amp;CK"]
    assert 'href="/?host=web-%2A&amp;columns=hosts%2Cfirst%2Ctechniques"' in text
    assert served.ask("/?columns=first,none").status == 400


def test_an_empty_console_explains_what_to_do(serve: Serve) -> None:
    """The first visit is no blank page."""
    text = serve().ask("/").text
    assert "No alerts yet" in text
    assert "lanner demo" in text


@pytest.mark.parametrize(
    "path", ["/", "/api/groups", "/none", "/static/console.js", "/alerts/alert-1", "/healthz", "/sign-in"]
)
def test_every_answer_has_the_policy(path: str, served: Served) -> None:
    """Nothing inline, nothing from elsewhere, no frames."""
    headers = served.ask(path).headers
    assert headers["content-security-policy"] == POLICY
    assert "unsafe" not in POLICY
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["server"] == "lanner"


def test_pages_need_nothing_inline_and_nothing_from_elsewhere(served: Served) -> None:
    """No style, no script, no handler in the markup; every file is the console's own."""
    total = 0
    for path in ("/", "/alerts/alert-1", "/sign-in"):
        for tag, attributes in Elements(served.ask(path).text).found:
            assert tag != "style"
            assert "style" not in attributes
            assert not any(name.startswith("on") for name in attributes)
            assert tag != "script" or attributes.get("src") == "/static/console.js"
            for name in ("src", "href", "action"):
                assert (attributes.get(name) or "/").startswith(("/", "#")), attributes
    for name in (
        "console.css",
        "console.js",
        "actions.js",
        "brush.js",
        "filters.js",
        "keys.js",
        "live.js",
        "page.js",
        "times.js",
    ):
        answer = served.ask(f"/static/{name}")
        assert answer.status == 200
        total += len(answer.body)
    assert total + len(served.ask("/").body) < 200_000
    tag = served.ask("/static/console.js").headers["etag"]
    assert served.ask("/static/console.js", headers={"If-None-Match": tag}).status == 304


@pytest.mark.parametrize("text", HOSTILE)
def test_texts_of_an_attacker_are_only_text(text: str, serve: Serve) -> None:
    """In every field of an alert, on every page and in a filter."""
    hostile = hostile_alert(text, id="alert-1", time=time.time_ns())
    served = serve(alerts=[])
    plain = served.ask("/").text
    served.queue.put(hostile)
    served.wait_for(1)
    known = {tag for tag, _ in Elements(plain).found} | {
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "small",
        "b",
        "svg",
        "g",
        "rect",
        "path",
    }
    known |= {
        "figure",
        "figcaption",
        "title",
        "time",
        "details",
        "summary",
        "dl",
        "dt",
        "dd",
        "blockquote",
        "textarea",
        "nav",
        "ul",
        "aside",
        "meter",
    }
    key = served.ask("/api/groups").json["groups"][0]["key"]
    for path in ("/", f"/groups/{key}", "/alerts/alert-1"):
        page = served.ask(path)
        assert page.status == 200
        assert {tag for tag, _ in Elements(page.text).found} <= known
        assert "8641969" not in page.text
        assert not set("\u202e\x1b\x00") & set(page.text)
        scripts = [attributes for tag, attributes in Elements(page.text).found if tag == "script"]
        assert [each.get("src") for each in scripts] == ["/static/console.js"]


def test_a_filter_in_the_address_selects_and_is_shown(served: Served) -> None:
    """A wrong one is explained."""
    assert "Read sensitive file" in served.ask("/?host=web-*&q=shadow").text
    assert "Nothing matches" in served.ask("/?host=db-*").text
    hostile = served.ask("/?q=%22%3E%3Cscript%3Ealert(1)%3C/script%3E")
    assert "<script>alert" not in hostile.text
    wrong = served.ask("/?priority=high")
    assert wrong.status == 400
    assert "priority must be one of" in wrong.text
    assert served.ask("/api/groups?limit=10000").status == served.ask("/api/alerts?before=x").status == 400


@pytest.mark.parametrize(
    "query", ["q=%ff", "host=%00", "q=%00%22", "rule=%ed%b3%bf", "q=" + "x" * 5000, "since=9" * 50]
)
def test_odd_bytes_in_an_address_are_no_internal_error(query: str, served: Served) -> None:
    """Neither in filters nor in a path."""
    for path in (f"/?{query}", f"/api/groups?{query}", f"/api/histogram?{query}", f"/api/alerts?{query}"):
        assert served.ask(path).status in (200, 400)
    for path in ("/api/alerts/%ff", "/alerts/%ed%b3%bf", "/groups/%00", "/static/%2e%2e%2fapp.py"):
        assert served.ask(path).status == 404


def decide(served: Served, action: str, value: str = "", **headers: str) -> int:
    """Make a decision about the first group; return the status."""
    key = served.ask("/api/groups?state=all").json["groups"][0]["key"]
    body = {"subject": f"group:{key}", "action": action, "value": value}
    return served.ask("/api/marks", body, headers=HEADER | headers).status


def test_decisions_are_shown_stored_and_audited(served: Served) -> None:
    """They are there after a restart with a new view, too."""
    assert decide(served, "acknowledge") == 200
    assert served.ask("/api/groups").json["total"] == 0
    assert decide(served, "reopen") == 200
    assert decide(served, "assign", "alice") == decide(served, "mute", "8h") == 200
    assert decide(served, "comment", "looks <b>bad</b>\nsecond line") == 200
    group = served.ask("/api/groups?state=muted").json["groups"][0]
    assert group["assignee"] == "alice"
    page = served.ask(f"/groups/{group['key']}").text
    assert "looks &lt;b&gt;bad&lt;/b&gt;\nsecond line" in page
    assert [entry["action"] for entry in served.audit()] == ["acknowledge", "reopen", "assign", "mute", "comment"]
    served.stop()
    for path in served.folder.glob("alerts.db*"):
        path.unlink()
    again = Served(served.folder, alerts=[now_alert(number) for number in range(3)])
    again.wait_for(3)
    marks = again.ask(f"/api/groups/{group['key']}").json["marks"]
    assert {mark["field"].partition("/")[0] for mark in marks} == {"assignee", "muted_until", "comment"}
    again.stop()


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"subject": "group:x", "action": "explode"},
        {"subject": "host:x", "action": "reopen"},
        {"subject": "group:x\x1fy", "action": "reopen"},
        {"subject": "group:x", "action": "mute", "value": "forever"},
        {"subject": "group:x", "action": "mute", "value": "9000d"},
        {"subject": "group:x", "action": "comment", "value": ""},
        {"subject": "group:x", "action": "comment", "value": "x" * 5000},
        {"subject": "group:x", "action": "acknowledge", "value": "-1"},
        {"subject": 3, "action": "reopen"},
        b"not json",
        b"[" * 50_000,
    ],
)
def test_a_decision_that_is_not_valid_is_refused(body: object, served: Served) -> None:
    """With the reason, and without an entry in the audit log."""
    answer = served.ask("/api/marks", body, headers=HEADER)
    assert answer.status == 400
    assert answer.json["error"]
    assert served.audit() == []


def test_a_row_that_other_texts_share_is_not_muted(serve: Serve) -> None:
    """What comes into it later would be muted, too."""
    made = serve(alerts=[now_alert(number, output=f"ran {'x' * number}") for number in range(MAX_TEXTS + 1)])
    made.wait_for(MAX_TEXTS + 1)
    key = group_key("Read sensitive file", "web-*", OTHER_TEXTS)
    body = {"subject": f"group:{key}", "action": "mute", "value": "8h"}
    answer = made.ask("/api/marks", body, headers=HEADER)
    assert answer.status == 409
    assert "can't be muted" in answer.json["error"]
    assert made.audit() == []
    assert 'data-action="mute"' not in made.ask(f"/groups/{key}").text


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),
        (HEADER | {"Origin": "https://evil.example"}, 403),
        (HEADER | {"Sec-Fetch-Site": "cross-site"}, 403),
        (HEADER | {"Sec-Fetch-Site": "same-site"}, 403),
        (HEADER | {"Origin": "null"}, 403),
        (HEADER | {"Sec-Fetch-Site": "same-origin"}, 404),
    ],
)
def test_a_page_of_another_site_can_decide_nothing(headers: dict[str, str], status: int, served: Served) -> None:
    """The browser's headers, and one that other sites can't send, are checked."""
    body = {"subject": "group:none", "action": "reopen"}
    assert served.ask("/api/marks", body, headers=headers).status == status


def test_another_name_for_the_loopback_address_is_refused(serve: Serve) -> None:
    """Otherwise any web page could read alerts by pointing its own name here."""
    made = serve(listen="127.0.0.1:28778")
    assert made.ask("/api/groups").status == 200
    assert made.ask("/api/groups", headers={"Host": "evil.example:28778"}).status == 421
    assert made.ask("/api/groups", headers={"Host": "localhost:28778"}).status == 200


def test_live_events_arrive_while_the_connection_is_open(served: Served) -> None:
    """A stop ends the stream."""
    connection = HTTPConnection("127.0.0.1", served.port, timeout=20)
    connection.request("GET", "/api/live")
    answer = connection.getresponse()
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert answer.headers["Content-Security-Policy"] == POLICY
    read: list[bytes] = []

    def lines() -> None:
        for line in answer:
            read.append(line)  # noqa: PERF402  it is read while it grows

    thread = threading.Thread(target=lines, daemon=True)
    thread.start()
    served.queue.put(now_alert(9))
    deadline = time.monotonic() + 10
    while b"event: change\n" not in read and time.monotonic() < deadline:
        time.sleep(0.05)
    assert b"event: hello\n" in read
    data = read[read.index(b"event: change\n") + 1]
    assert json.loads(data.removeprefix(b"data: ")) == {"added": 1}
    served.stop()
    thread.join(5)
    assert not thread.is_alive()


def test_pages_that_were_left_count_no_more(served: Served) -> None:
    """Each page that a person opens has a stream."""
    for _ in range(3 * MAX_OF_SESSION):
        connection = HTTPConnection("127.0.0.1", served.port, timeout=20)
        connection.request("GET", "/api/live")
        answer = connection.getresponse()
        assert answer.status == 200
        answer.close()
        connection.close()


def test_too_many_requests_are_refused_for_a_while(served: Served) -> None:
    """Each client has a limit."""
    assert served.ask("/api/me").status == 200
    # The limit grows again each second, so a busy machine needs more of them.
    assert any(served.ask("/api/me").status == 429 for _ in range(3000))
    assert load_settings(None, {}, []).console.listen == "127.0.0.1:8778"
