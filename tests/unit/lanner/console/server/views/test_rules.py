import time
from urllib.parse import quote

import pytest

from lanner.console.fleet.ports import KnownRules
from processor.output.internal_alerts import rules_changed
from tests.unit.lanner.console.alerts import found
from tests.unit.lanner.console.fleet.rules import QUIET, RULE, fleet_of_rules, known_rules, rule_facts
from tests.unit.lanner.console.server.conftest import Serve
from tests.unit.lanner.console.server.running import Served
from tests.unit.lanner.console.server.test_app import HOSTILE, Elements


@pytest.fixture
def served(serve: Serve) -> Served:
    """Return a console with three rules and two alerts."""
    made = serve(fleet=fleet_of_rules(), alerts=[found(0, id=f"a{each}", time=time.time_ns()) for each in range(2)])
    made.wait_for(2)
    return made


def test_rules_are_listed_with_alerts_cost_and_publisher(served: Served) -> None:
    """Each links to its page and to its alerts."""
    text = served.ask("/rules").text
    assert "published by <b>alice</b> on build-1" in text
    assert "signed by key-1" in text
    assert "for the audit" in text
    assert "75.0 %" in text
    assert "condition, output, by alice" in text
    assert "/?rule=Read+sensitive+file&amp;since=7d&amp;state=all" in text
    assert text.count("never fired</span>") == 1
    assert served.ask("/rules?state=dead").status == served.ask("/api/rules?since=dead").status == 400
    assert [each["name"] for each in served.ask("/api/rules?state=fired").json["rules"]] == [RULE]
    assert "Nothing matches" in served.ask("/rules?name=none").text


def test_one_rule_shows_its_condition_and_description(served: Served) -> None:
    """With its tags and what ATT&CK calls its techniques."""
    text = served.ask(f"/rules/rule?name={quote(RULE)}").text
    assert "open_read and fd.name in (/etc/shadow)" in text
    assert "Somebody read it." in text
    assert "OS Credential Dumping" not in text
    assert "/etc/passwd and /etc/shadow" in text
    assert served.ask(f"/api/rules/rule?name={quote(QUIET)}").json["change"]["by"] == "alice"
    assert served.ask("/rules/rule?name=none").status == 404


def test_rules_that_are_in_alerts_only_are_marked(serve: Serve) -> None:
    """They are of an earlier version, of another program, or about Lanner itself."""
    served = serve(fleet=fleet_of_rules(), alerts=[found(0, rule="Of another tool", time=time.time_ns())])
    served.wait_for(1)
    assert "not among the rules" in served.ask("/rules?state=other").text
    assert "not among the rules" in served.ask("/rules/rule?name=Of+another+tool").text


def test_the_matrix_shows_coverage_and_activity(served: Served) -> None:
    """Techniques with alerts are colored, those without a rule that is on are dashed."""
    page = served.ask("/rules/attack")
    cells = [values.get("class") for tag, values in Elements(page.text).found if tag == "li"]
    assert cells.count("heat3") == 1
    assert cells.count("heat0 uncovered") == 1
    assert "/rules?technique=T1547.006" in page.text
    assert len(served.ask("/api/rules/attack").json["tactics"]) == 15


def test_a_change_that_only_an_alert_reports_is_shown(serve: Serve) -> None:
    """In `lanner run`, and for versions before the published one."""
    change = rules_changed(
        ("h",), time.time_ns(), "3 rules", [f"~ rule {RULE}: output"], {"rules.cause": "SIGHUP"}, hostname="web-1"
    )
    served = serve(fleet=fleet_of_rules(), alerts=[change])
    served.wait_for(1)
    found_change = served.ask(f"/api/rules/rule?name={quote(RULE)}").json["change"]
    assert (found_change["by"], found_change["how"]) == ("SIGHUP", "output")


def test_rules_of_files_are_shown_where_none_are_published(serve: Serve) -> None:
    """With what is not known about them; ones that can't be loaded are explained."""
    served = serve()
    text = served.ask("/rules").text
    assert "The rule files of this host." in text
    assert "It is measured while rules run" in text
    assert "Read sensitive file untrusted" in text
    fleet = fleet_of_rules()
    fleet.known_rules = KnownRules(problem="The published version can't be used: it is not signed")
    assert served.ask("/api/rules").json["version"] is None
    served.stop()
    refused = serve(fleet=fleet)
    assert "it is not signed" in refused.ask("/rules").text


def test_what_a_host_does_not_send_is_compared_with_the_rules(served: Served) -> None:
    """Only event types of rules that are on count."""
    host = served.ask("/api/hosts").json["hosts"][0]
    assert (host["states"], host["missing"]) == (["limited"], ["init_module"])


@pytest.mark.parametrize("text", HOSTILE)
def test_texts_of_rules_are_only_text(text: str, serve: Serve) -> None:
    """Anyone with the right to send alerts or publish rules chooses them."""
    given = text.encode("utf-8", "replace").decode()
    fleet = fleet_of_rules()
    served = serve(fleet=fleet)
    served.queue.put(found(0, rule=text, tags=(text,), time=time.time_ns()))
    served.wait_for(1)
    paths = ("/rules?since=all", "/rules/attack?since=all", f"/rules/rule?since=all&name={quote(QUIET)}")
    known = {path: {tag for tag, _ in Elements(served.ask(path).text).found} for path in paths}
    facts = rule_facts(given, tags=(given, "T1003"), description=given, response=given, condition=given, place=given)
    version = known_rules().version
    fleet.known_rules = known_rules(rules=(facts,), costs=given, origin=given, version=version, seconds={given: 1.0})
    addresses = ("/rules?since=30d", "/rules/attack?since=30d", f"/rules/rule?since=30d&name={quote(given, safe='')}")
    for path, address in zip(paths, addresses, strict=True):
        page = served.ask(address)
        assert page.status == 200
        tags = {tag for tag, _ in Elements(page.text).found}
        assert tags <= known[path] | {"small", "a", "p", "span", "li", "ul", "path"}
        assert "8641969" not in page.text
        assert not set("\u202e\x1b\x00") & set(page.text)
