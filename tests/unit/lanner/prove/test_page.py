from dataclasses import replace

from lanner.prove.grades import Seen, graded
from lanner.prove.page import html_page
from tests.unit.lanner.prove.test_grades import ALERT, TEST


def test_the_page_escapes_what_tests_and_alerts_say_and_loads_nothing() -> None:
    """A name, a command, a reason and a headline are text on it, and a policy forbids everything but its own style."""
    evil = "<script>alert(1)</script>\x1b[31m\u202e"
    test = replace(TEST, name=evil, command=f"echo\n{evil}", technique="T9999")
    alert = replace(ALERT, headline=evil, rule=evil)
    page = html_page([graded(test, evil, Seen(events=5, alerts=[alert]), 0, 1.25)], evil, 0)
    assert "<script" not in page
    assert not {"\x1b", "\u202e"} & set(page)
    assert page.count("&lt;script&gt;") == 6
    assert not {"src=", "<link", "url("} & {word for word in ("src=", "<link", "url(", "@import") if word in page}
    assert "default-src 'none'" in page
