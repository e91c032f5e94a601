import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from foundation.text import printable
from lanner.terminal.alert_text import AlertText
from schemas.alert import Alert
from tests.unit.alerts import alert

EVENT = {
    "evt.type": "openat",
    "evt.is_open_read": True,
    "fd.name": "/etc/shadow",
    "proc.name": "cat",
    "proc.cmdline": "cat /etc/shadow",
    "user.name": "root",
}
TEXTS = {"description": "Someone reads it.", "response": "Look at the parents."}


def shown(made: Alert, width: int = 0, **options: bool) -> list[str]:
    """Render one alert."""
    return AlertText(lambda: width, **options)(made).split("\n")


def test_the_first_line_states_what_happened_and_the_others_only_what_has_a_value() -> None:
    """Values are aligned; the id is what `lanner context` needs."""
    made = alert(event=EVENT, output_fields={"fd.name": "/etc/shadow", "proc.pname": None}, **TEXTS)
    first, *rest = shown(made)

    assert re.fullmatch(
        r"(2026-11-24 )?\d\d:\d\d:\d\d\.479 Warning A rule: cat \(root\) opened /etc/shadow for reading, on web-3",
        first,
    )
    assert rest == [
        "  command   cat /etc/shadow",
        "  user      root",
        "  file      /etc/shadow",
        "  about     Someone reads it.",
        "  response  Look at the parents.",
        f"  id        {made.id}",
    ]


def test_advice_follows_the_first_alert_of_a_rule_only() -> None:
    """A burst of alerts does not repeat it."""
    lines = AlertText(lambda: 0)
    texts = [lines(alert(rule=rule, **TEXTS)) for rule in ("A", "A", "B")]

    assert ["Someone reads it." in text for text in texts] == [True, False, True]


def test_colors_change_nothing_but_colors() -> None:
    """Without them, the same text is left."""
    made = alert(event=EVENT, **TEXTS)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(shown(made, 60, is_coloured=True)))

    assert plain.split("\n") == shown(made, 60)


def test_a_narrow_terminal_puts_values_below_their_labels() -> None:
    """Nothing is cut."""
    lines = shown(alert(event=EVENT, **TEXTS), 24)

    assert all(len(line) <= 24 for line in lines)
    assert "  command" in lines
    assert "    cat /etc/shadow" in lines


_TEXT = st.text(max_size=20) | st.text(min_size=1, max_size=4).map(lambda part: part * 3000)


@given(
    st.builds(
        alert,
        rule=_TEXT,
        output=_TEXT,
        hostname=_TEXT,
        description=_TEXT,
        output_fields=st.dictionaries(_TEXT, _TEXT | st.none() | st.integers(), max_size=60),
        event=st.dictionaries(st.sampled_from(sorted(EVENT)), _TEXT),
    ),
    st.integers(20, 200),
)
def test_no_alert_moves_the_cursor_or_fills_the_screen(made: Alert, width: int) -> None:
    """A host chooses nearly every text of an alert."""
    text = AlertText(lambda: width)(made)

    assert all(printable(line) == line for line in text.split("\n"))
    assert all(len(line) <= width for line in text.split("\n"))
    assert len(text) < 500_000
    assert any(made.id[:8] in line for line in text.split("\n"))


def test_a_value_can_not_look_like_another_line() -> None:
    """Line breaks are escaped."""
    made: dict[str, Any] = {**EVENT, "proc.cmdline": "cat\n  user  nobody"}

    assert "  user     nobody" not in shown(alert(event=made))
    assert r"  command  cat\n  user  nobody" in "\n".join(shown(alert(event=made)))
