import json
from dataclasses import replace
from typing import Any

from lanner.console.story.forms import MAX_CHARACTERS, MAX_PROCESSES, MAX_STEPS, story_json
from lanner.console.story.reading import Story, StoryTree
from lanner.recorder.context import TimelineRange
from lanner.recorder.tree.family import family
from schemas.batch import EventBatch, Process
from tests.unit.lanner.recorder.tree.incident import MS, TIME, entries, of_event, process
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
