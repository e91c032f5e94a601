import json
from dataclasses import replace
from typing import Any

from lanner.console.story.forms import MAX_CHARACTERS, MAX_LISTED, MAX_PROCESSES, MAX_STEPS, UNFOLDED_LINES, story_json
from lanner.console.story.reading import Story, StoryTree
from lanner.recorder.context import TimelineRange
from lanner.recorder.tree.family import family
from schemas.batch import EventBatch, EventBit, Process
from tests.unit.lanner.recorder.tree.incident import MS, TIME, entries, incident, of_event, process
from tests.unit.processor.batches import INIT, batch_of


def shown(batch: EventBatch, trigger: int) -> dict[str, Any]:
    """Return the JSON of the story of an event of a batch."""
    alert = replace(of_event(batch, trigger, id="this"), host_id="host-1")
    tree = StoryTree("host-1", "web-3", family(entries(batch, trigger), alert, [alert]))
    window = TimelineRange(TIME - MS, TIME, TIME + MS)
    story = Story(alert, window, [tree], is_found=True, left_out=0, coverage=(), remarks=())
    return story_json(story, "")["trees"][0]  # type: ignore[no-any-return]


def test_a_long_line_of_processes_is_shortened_around_the_alert() -> None:
    """The process of the alert and what leads to it stay; the rest is counted."""
    rows = [INIT, *(Process(pid=2 + number, name="sh", parent=number, start_time=1) for number in range(1000))]
    batch = batch_of(*({"type": "openat", "process": number} for number in range(1, 1001)), processes=rows)
    tree = shown(batch, 100)
    assert len(tree["processes"]) == MAX_PROCESSES
    assert len(tree["leading"]) + MAX_PROCESSES + tree["more_processes"] == 1 + 1000
    assert any(step["is_trigger"] for each in tree["processes"] for step in each["steps"])
    assert all(each["parent"] < index for index, each in enumerate(tree["processes"]))


def test_a_process_that_executes_programs_all_the_time_is_shortened() -> None:
    """Starts are never folded; the one with the alert stays."""
    rows = [INIT, process(10, "sh", 0), process(11, "sh loop", 1)]
    events = [{"type": "execve", "process": 2, "time": TIME + number * MS} for number in range(500)]
    (tree,) = (each for each in shown(batch_of(*events, processes=rows), 400)["processes"] if each["pid"] == 11)
    assert len(tree["steps"]) == MAX_STEPS
    assert tree["more_steps"] > 400
    assert [step["is_trigger"] for step in tree["steps"]].count(True) == 1


def test_an_answer_is_limited_in_size() -> None:
    """However long and different the names that an attacker chooses."""
    rows = [INIT, process(10, "sh", 0), *(process(100 + number, f"{number} {'x' * 3000}", 1) for number in range(300))]
    events = [
        {"type": "openat", "process": 2 + number % 300, "time": TIME + number * MS, "fd_name": f"{number}{'y' * 3000}"}
        for number in range(9000)
    ]
    assert len(json.dumps(shown(batch_of(*events, processes=rows), 1))) < 2 * MAX_CHARACTERS


def test_what_matters_most_is_unfolded() -> None:
    """The marked event, alerts, a file that was run, what its process did; other work is folded."""
    rows = [
        INIT,
        process(10, "sh", 0),
        process(11, "cat", 1),
        process(12, "fetch", 1),
        process(13, "x", 1, exepath="/tmp/x"),
    ]
    rows += [process(100 + number, f"other {number}", 1) for number in range(200)]
    events: list[dict[str, object]] = [
        {"type": "openat", "process": 3, "time": TIME, "fd_name": "/tmp/x", "bits": EventBit.OPEN_WRITE},
        {"type": "execve", "process": 4, "time": TIME + MS},
        *(
            {"type": "openat", "process": 5 + each, "time": TIME + (2 + each) * MS, "fd_name": f"/{each}"}
            for each in range(200)
        ),
        {"type": "openat", "process": 2, "time": TIME + 300 * MS, "fd_name": "/etc/shadow"},
    ]
    found = shown(batch_of(*events, processes=rows), 203)["processes"]
    lines = {
        (each["name"], step["target"]): step["is_folded"] or each["is_folded"]
        for each in found
        for step in each["steps"]
    }
    assert not lines["cat", "/etc/shadow"]
    assert not lines["fetch", "/tmp/x"]
    (fetch,) = (each for each in found if each["name"] == "fetch")
    assert [step["ran"] is not None for step in fetch["steps"]] == [True]
    seen = sum(not each["is_folded"] for each in found) + sum(not is_folded for is_folded in lines.values())
    assert seen <= UNFOLDED_LINES + 2
    assert len(found) > UNFOLDED_LINES


def test_other_alerts_are_grouped_by_rule() -> None:
    """The most severe first, with all counts; those nearest to the alert are listed."""
    batch = incident()
    this = replace(of_event(batch, 5, id="this"), host_id="host-1")
    others = [
        replace(this, id=f"{number}", time=TIME + number * MS, rule="Many", event={"evt.num": 9_000 + number})
        for number in range(MAX_LISTED + 50)
    ]
    others.append(replace(others[0], id="severe", rule="One", priority="Critical"))
    tree = StoryTree("host-1", "web-3", family(entries(batch), this, [this, *others]))
    window = TimelineRange(TIME - MS, TIME, TIME + MS)
    story = Story(this, window, [tree], is_found=True, left_out=0, coverage=(), remarks=())
    groups = story_json(story, "")["trees"][0]["alerts"]
    assert [(each["priority"], each["rule"], each["count"]) for each in groups] == [
        ("Critical", "One", 1),
        ("Warning", "Many", MAX_LISTED + 50),
    ]
    assert sum(len(each["alerts"]) for each in groups) == MAX_LISTED
