import pytest
from rich.cells import cell_len

from foundation.quantities import clock
from lanner.recorder.tree.draw import Drawing, Style, draw
from lanner.recorder.tree.family import MAX_CHILDREN, Family
from lanner.terminal.output import paint
from schemas.batch import EventBit, Process, ProgramFile
from tests.unit.lanner.recorder.tree.incident import MS, TIME, entries, incident, of_event, process
from tests.unit.processor.batches import INIT, batch_of

PLAIN = Style()


def at(milliseconds: int) -> str:
    """Return a time of the incident as it is drawn."""
    return clock(TIME + milliseconds * MS)[:-6]


def drawn(style: Style = PLAIN) -> Drawing:
    """Return the drawing of the incident."""
    batch = incident()
    alert = of_event(batch, 5, id="the id")
    other = of_event(batch, 2, id="another id", rule="Download", priority="Notice")
    elsewhere = of_event(batch, 6, id="elsewhere")
    return draw(entries(batch), alert, [other, alert, elsewhere], style)


def test_an_incident_is_a_tree_of_who_did_what() -> None:
    """Ancestors in one line, siblings with what they did, alerts in place, many files as their folder."""
    found = drawn()
    assert found.lines == [
        "systemd(1) → sshd(800)",
        "bash(900) alice",
        f"├─ {at(0)} curl(901) alice: curl -s http://198.51.100.7/x [exit 0, {at(90)}]",
        f"│       {at(1)} connect 198.51.100.7:80",
        "│       ! Notice Download (another id)",
        f"├─ {at(100)} cat(902) alice: cat /etc/shadow",
        f"│     > {at(101)} open /etc/shadow",
        "│       ! Warning A rule (this alert)",
        f"└─ {at(200)} cp(903) alice: cp -r /etc /tmp/loot",
        f"        {at(201)} open /etc/… 170 times (165 names)",
    ]


def test_what_is_not_drawn_is_counted() -> None:
    """Other processes with their events, and alerts whose events are not in the tree."""
    found = drawn()
    assert (found.family.other_events, found.family.other_processes) == (1, 1)
    assert [each.id for each in found.family.unplaced] == ["elsewhere"]


def _letters(lines: list[str]) -> str:
    """Return the text without blanks and branches."""
    return "".join("".join(lines).translate(str.maketrans("", "", "├└─│ ")))


@pytest.mark.parametrize("width", [30, 40, 60, 80])
def test_a_narrow_terminal_breaks_no_branch(width: int) -> None:
    """Every line fits, continuation lines are indented, and no text is lost."""
    style = Style(width=width)
    lines = drawn(style).lines
    assert all(cell_len(line) <= width for line in lines)
    assert _letters(lines) == _letters(drawn().lines)


def test_a_terminal_without_unicode_gets_ascii() -> None:
    """Branches, arrows and ellipses."""
    lines = drawn(Style(is_unicode=False)).lines
    assert "systemd(1) > sshd(800)" in lines
    assert f"        {at(201)} open /etc/... 170 times (165 names)" in lines
    assert all(line.isascii() for line in lines)


def test_color_marks_the_event_and_the_alerts_alone() -> None:
    """Without color there is no escape sequence."""
    painted = drawn(Style(paint=paint)).lines
    assert [line for line in painted if "\x1b" in line] == [
        "│       \x1b[36m! Notice Download (another id)\x1b[0m",
        f"│     > \x1b[1;33m{at(101)} open /etc/shadow\x1b[0m",
        "│       \x1b[33m! Warning A rule (this alert)\x1b[0m",
    ]
    assert not any("\x1b" in line for line in drawn().lines)


def test_processes_that_did_the_same_are_drawn_once() -> None:
    """As in a loop of a script; one with an alert stands alone."""
    rows = [INIT, process(10, "sh loop.sh", 0), *(process(20 + number, "sleep 1", 1) for number in range(30))]
    events = [{"type": "execve", "process": 2 + number, "time": TIME + number * MS} for number in range(30)]
    batch = batch_of(*events, processes=rows)
    lines = draw(entries(batch, 4), of_event(batch, 4), [of_event(batch, 4)], PLAIN).lines
    assert lines[2] == f"├─ {at(0)} sleep(20) alice: sleep 1 [and 28 more that did the same]"
    assert lines[3:] == [
        "└─ sleep(23) alice: sleep 1",
        f"      > {at(3)} exec sleep 1",
        "        ! Warning A rule (this alert)",
    ]


def test_at_most_so_many_children_are_drawn_and_those_with_alerts_always() -> None:
    """The others are counted as not drawn."""
    rows = [INIT, process(10, "make", 0), *(process(20 + number, f"cc {number}.c", 1) for number in range(200))]
    events = [{"type": "execve", "process": 2 + number, "time": TIME + number * MS} for number in range(200)]
    batch = batch_of(*events, processes=rows)
    found = draw(entries(batch, 190), of_event(batch, 190), [of_event(batch, 190)], PLAIN)
    assert sum("cc(" in line for line in found.lines) == MAX_CHILDREN
    assert any("189.c" in line for line in found.lines)
    assert found.family.other_processes == 200 - MAX_CHILDREN


def test_without_the_event_of_the_alert_its_process_is_found_by_its_id() -> None:
    """The event may have been lost; without an alert, all processes are drawn."""
    batch = incident()
    missing = of_event(batch, 5, id="lost")
    family = draw(entries(batch, None), missing, [], PLAIN).lines
    assert family[:2] == ["systemd(1) → sshd(800)", "bash(900) alice"]
    everything = draw(entries(batch, None), None, [], PLAIN)
    assert everything.family.other_processes == 0
    assert any("cron(700)" in line for line in everything.lines)


def test_a_thousand_nested_processes_are_drawn() -> None:
    """Without exceeding the stack or the terminal's width."""
    rows = [INIT, *(Process(pid=2 + number, name="sh", parent=number, start_time=1) for number in range(1200))]
    batch = batch_of(*({"type": "openat", "process": number} for number in range(1, 1201)), processes=rows)
    lines = draw(entries(batch, 1), None, [], Style(width=80)).lines
    assert len(lines) > 2400
    assert max(map(cell_len, lines)) <= 80


def test_no_events_draw_nothing() -> None:
    """As when nothing of this time is stored."""
    assert draw([], None, [], PLAIN) == Drawing([], Family())


def test_what_was_written_and_run_is_stated_with_its_origin() -> None:
    """The time of the run beside the write, and who wrote the program beside its command."""
    file = ProgramFile(origin="dropped")
    rows = [INIT, process(10, "sh", 0), process(11, "curl -o x", 1), process(12, "x", 1, exepath="/x", file=file)]
    batch = batch_of(
        {"type": "openat", "process": 2, "time": TIME, "fd_name": "/x", "bits": int(EventBit.OPEN_WRITE)},
        {"type": "execve", "process": 3, "time": TIME + 5 * MS},
        processes=rows,
    )
    assert draw(entries(batch, None), None, [], PLAIN).lines == [
        "systemd(1)",
        "└─ sh(10) alice",
        "   ├─ curl(11) alice: curl -o x",
        f"   │       {at(0)} open for writing /x, which was run at {at(5)}",
        f"   └─ {at(5)} x(12) alice [program from no package]",
    ]
